"""The first page of a report: is it better, by how much, at what cost, can I trust it; a sentence each.

What speaks against the result is named whatever the result is. All figures are from the data alone.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from figa_core.evaluation.verdict import Outcome, Verdict
from figa_core.report.comparison import Metric, difference, first_difference, run_verdict
from figa_core.report.data import JudgedPair, ModelScores, ReportData, Spending
from figa_core.report.sentences import (
    changed_almost_nothing,
    disagreement_clause,
    duration,
    percent,
    result_sentence,
    unjudged_clause,
    verdict_clause,
)

FEW_PROMPTS = 100
"""With fewer, the 95 % interval is wider than ± 0.2 standard deviations of the differences."""

SHARE_TO_NAME = 0.05
"""Rows that are missing are named from this share on."""

_WORDS = {
    Outcome.BETTER: "Yes",
    Outcome.WORSE: "No",
    Outcome.NO_DIFFERENCE: "Not shown",
    Outcome.NOT_JUDGED: "Not known",
}


class _Place(StrEnum):
    AHEAD = "ahead of"
    BEHIND = "behind"
    UNDECIDED = "not told apart from"
    SAME = "the same model as"
    UNKNOWN = "not compared with"


class Answer(NamedTuple):
    """A reader's question, and one sentence."""

    question: str
    sentence: str


def first_page(data: ReportData) -> list[Answer]:
    """The four questions with their answers; every part of the data may be missing."""
    found = run_verdict(data)
    return [
        Answer("Is it better?", is_better(data, found)),
        Answer("By how much?", by_how_much(data)),
        Answer("At what cost?", at_what_cost(data)),
        Answer("Can I trust it?", can_i_trust_it(data, found)),
    ]


def is_better(data: ReportData, found: Verdict | None) -> str:
    """The verdict on the run's model, and its place among those that it is compared with."""
    if data.main is None or found is None:
        clause = f"no prompt was held out to judge {data.unjudged} on" if data.unjudged else None
        return f"Not known: {clause or unjudged_clause(data)}."
    word = "No" if found.same_model else _WORDS[found.outcome]
    places = _places(data.main, data.baselines)
    trap = ", although it is better by the reward" if found.over_optimised else ""
    use = f": do not use it{trap}" if found.do_not_use else ""
    clause = verdict_clause(data.main.label, found, data.base)
    return f"{word}: {clause}{use}{f'; it is {places}' if places else ''}."


def _places(main: ModelScores, baselines: tuple[ModelScores, ...]) -> str:
    """Such as "ahead of A and B, and behind C"."""
    found: dict[_Place, list[str]] = {place: [] for place in _Place}
    for baseline in baselines:
        found[_place(main, baseline)].append(baseline.label)
    return _listed([f"{place} {_listed(labels)}" for place, labels in found.items() if labels], ", and ")


def _place(main: ModelScores, baseline: ModelScores) -> _Place:
    if main.is_same_model(baseline):
        return _Place.SAME
    if (compared := first_difference(baseline, main)) is None:
        return _Place.UNKNOWN
    change = compared[1].change
    if not change.excludes_zero:
        return _Place.UNDECIDED
    return _Place.AHEAD if (change.mean or 0) > 0 else _Place.BEHIND


def _listed(parts: list[str], last: str = " and ") -> str:
    return last.join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def by_how_much(data: ReportData) -> str:
    """The difference to the base by the judge, with its interval and the number of prompts."""
    if data.unjudged and data.main is None:
        return "Nothing was compared: hold prompts out (prompts.held_out_share), or give more of them."
    if data.main is None:
        return "Nothing was compared."
    return result_sentence(data)


def at_what_cost(data: ReportData) -> str:
    """Dollars, calls and tokens of language models, and the hours of the trainings."""
    calls = _calls(data.spending)
    counted = f"{calls[0].upper()}{calls[1:]}, and {_trainings(data)}"
    return f"{counted}; drawing and scoring answers is not counted."


def _calls(spent: Spending) -> str:
    if not spent.calls:
        return "no call to a language model"
    number = f"{spent.calls:,} call{'' if spent.calls == 1 else 's'}"
    calls = f"{number} to language models ({spent.tokens:,} tokens)"
    if spent.usd is None:
        return f"{calls} at no known price"
    estimated = f" (${spent.estimated_usd:,.2f} of it estimated)" if spent.estimated_usd else ""
    unpriced = f", {spent.unpriced:,} of them at no known price" if spent.unpriced else ""
    return f"{'at least ' if unpriced else ''}${spent.usd:,.2f}{estimated} for {calls}{unpriced}"


def _trainings(data: ReportData) -> str:
    seconds = {curve.label: curve.seconds for curve in data.curves if curve.seconds is not None}
    open_ones = len(data.curves) - len(seconds)
    if not seconds:
        return "a training that has not finished" if open_ones else "no training"
    main = data.main.label if data.main else None
    part = f", {duration(seconds[main])} of it for {main}" if main in seconds and len(seconds) > 1 else ""
    unfinished = ", without what has not finished" if open_ones else ""
    return f"{duration(sum(seconds.values()))} of training{part}{unfinished}"


def can_i_trust_it(data: ReportData, found: Verdict | None) -> str:
    """What speaks against the result; if nothing does, what it rests on."""
    against = "; ".join(doubts(data, found))
    if data.main is None or found is None or found.outcome is Outcome.NOT_JUDGED:
        return f"There is no result to trust yet{f', and: {against}' if against else ''}."
    if against:
        return f"With care: {against}."
    independent = "had no part in" if found.judge == "verifier" else "chose none of the pairs of"
    prompts = found.change.n if found.change else 0
    return (
        f"Yes, as far as one training shows: its judge, the {found.judge}, {independent} the training, "
        f"{prompts:,} held-out prompts were compared, and no alarm was raised."
    )


def doubts(data: ReportData, found: Verdict | None) -> list[str]:
    """What a careful reader would hold against the result, the gravest first, as clauses."""
    main = data.main
    return [
        *_of_the_run(data),
        *(_of_the_scores(data, main, found) if main and found else ()),
        *(_of_the_training(main) if main else ()),
        *_of_the_rows(data),
    ]


def _of_the_run(data: ReportData) -> Iterator[str]:
    label = data.main.label if data.main else data.unjudged
    curve = next((curve for curve in data.curves if curve.label == label), None)
    alarms = len(data.alarms.get(label or "", ()))
    if curve is not None and curve.ended_by:
        yield f"an alarm ended the training early ({curve.ended_by})"
    elif alarms:
        yield f"{alarms} alarm{' was' if alarms == 1 else 's were'} raised about {label}"
    if data.failure and data.main:
        yield f"the run failed ({data.failure})"


def _of_the_scores(data: ReportData, main: ModelScores, found: Verdict) -> Iterator[str]:
    base = data.base
    if base is None or found.judge is None:
        return
    if not main.is_same_model(base) and (clause := disagreement_clause(base, main)):
        yield clause.replace("; ", ": ")
    if data.judge_chose_pairs:
        yield "its judge is the reward that also chose the pairs trained on"
    yield from (clause for pair in data.judged_pairs if (clause := _of_a_judge(data, pair, found)))
    compared = difference(base, main, Metric(found.judge))
    if 1 < compared.change.n < FEW_PROMPTS:
        yield f"only {compared.change.n} held-out prompts were compared"
    missing = compared.left_out / max(compared.left_out + compared.change.n, 1)
    if missing >= SHARE_TO_NAME:
        yield f"{percent(missing)} of the held-out prompts lack a score of one of the two models"
    if (comparisons := len(data.models) + len(data.baselines)) > 1:
        yield f"the intervals of the {comparisons} comparisons of models are not corrected for their number"


def _of_a_judge(data: ReportData, pair: JudgedPair, found: Verdict) -> str:
    """Where an LLM that compared the answers with the base's does not agree with the verdict."""
    labels = tuple(model.label for model in (data.base, data.main) if model is not None)
    interval = pair.found.win_rate.interval
    if (pair.one, pair.other) != labels or interval is None:
        return ""
    if pair.found.doubt:
        return f"the judge {pair.judge}, which compared the answers, is not to be relied on"
    prefers = Outcome.BETTER if interval[0] > 0.5 else Outcome.WORSE if interval[1] < 0.5 else None
    if prefers is found.outcome or (prefers is None and found.outcome is Outcome.NO_DIFFERENCE):
        return ""
    what = {Outcome.BETTER: f"prefers {pair.other}", Outcome.WORSE: f"prefers {pair.one}"}
    said = what[prefers] if prefers else "has no clear preference"
    return f"the judge {pair.judge}, which compared the answers, {said}"


def _of_the_training(main: ModelScores) -> Iterator[str]:
    if (change := main.change) is None:
        return
    if change.updates and changed_almost_nothing(change):
        yield "the training changed almost nothing"
    if change.overflowed:
        yield f"{change.overflowed:,} of {change.steps:,} updates were left out, not being finite"
    if change.dtype and change.base_dtype and change.dtype != change.base_dtype:
        yield f"it was judged in {change.dtype} and its base in {change.base_dtype}"


def _of_the_rows(data: ReportData) -> Iterator[str]:
    outcomes = data.revision_calls.outcomes if data.revision_calls else {}
    usable = sum(n for what, n in outcomes.items() if what.partition(":")[0] in ("succeeded", "unchanged"))
    if outcomes and (failed := 1 - usable / max(sum(outcomes.values()), 1)) >= SHARE_TO_NAME:
        yield f"{percent(failed)} of the rows to revise have no usable revision"
