"""The meaning of the held-out scores in plain sentences, from the data alone, welcome or not.

`first_page.py` answers a reader's four questions with them.
"""

from collections.abc import Iterator

from figa_core.evaluation.verdict import Outcome, Verdict
from figa_core.report.comparison import (
    Difference,
    Metric,
    difference,
    first_difference,
    interval_text,
    number,
    run_verdict,
    verdict_on,
)
from figa_core.report.data import ModelChange, ModelScores, ReportData

# Beyond these limits a reader need not look for effects of the training.
_ALMOST_ALL_RESPONSES = 0.9
_ALMOST_NO_CHANGE = 1e-5


def result_sentence(data: ReportData) -> str:
    """One plain sentence: did the main model get better on held-out prompts?"""
    if data.main is None and data.unjudged is not None:
        return (
            f"{data.unjudged} was trained but cannot be judged: no prompt was held out. "
            "Raise prompts.held_out_share, or give more prompts."
        )
    if data.main is None:
        clause = unjudged_clause(data)
        return f"{clause[0].upper()}{clause[1:]}, so there is nothing to compare."
    if data.base is None:
        return (
            f"{data.main.label} was trained, but the base model was not evaluated: no comparison is possible."
        )
    if data.main.is_same_model(data.base):
        return _unchanged_sentence(data.main)
    if found := first_difference(data.base, data.main):
        return _change_sentence(data.main.label, *found)
    return f"{data.main.label} was trained, but it and the base model share no scored held-out prompts."


def unjudged_clause(data: ReportData) -> str:
    """Why no model of the run has held-out scores, as a clause without an end."""
    finished = next((curve for curve in data.curves if curve.seconds is not None), None)
    if data.failure:
        return f"the run failed before a model was judged ({data.failure})"
    if data.dataset_only:
        return "this run was asked for training pairs only"
    if finished is not None:
        return f"{finished.label} was trained and has not been judged yet"
    if data.curves:
        return f"the training of {data.curves[0].label} has begun and has not finished"
    return "no model has been trained in this run yet"


def _change_sentence(label: str, metric: Metric, found: Difference) -> str:
    decimals, change = metric.decimals, found.change
    quantity = "the verifier's mean score" if metric is Metric.VERIFIER else "the mean reward"
    span = f"from {number(found.before.mean, decimals)} to {number(found.after.mean, decimals)}"
    span += " of 100" if metric is Metric.VERIFIER else ""
    prompts = "prompt" if change.n == 1 else "prompts"
    confidence = "95 % CI " if change.interval else ""
    evidence = (
        f"({number(change.mean, decimals, signed=True)}, {confidence}{interval_text(change, decimals)}, "
        f"n = {change.n:,} held-out {prompts})"
    )
    if change.excludes_zero:
        verb = "raised" if (change.mean or 0) > 0 else "lowered"
        return f"{label} {verb} {quantity} {span} {evidence}."
    doubt = "which chance alone could explain" if change.interval else "which is too few prompts to judge by"
    return f"{label} made no clear difference: {quantity} went {span} {evidence}, {doubt}."


def verdict_sentences(data: ReportData) -> list[str]:
    """May the run's model replace its base, and may those that it is compared with?"""
    found = run_verdict(data)
    if found is None:
        return []
    if data.main is None:
        return [f"Verdict: {data.unjudged} was not judged, because no prompt was held out."]
    sentences = [verdict_sentence(data.main, found, data.base)]
    return sentences + [
        verdict_sentence(model, verdict_on(data.base, model), data.base) for model in data.baselines
    ]


def verdict_sentence(model: ModelScores, found: Verdict, base: ModelScores | None) -> str:
    """The verdict on one model, with the directory that is not to be used if it is worse."""
    if found.outcome is not Outcome.WORSE:
        return f"Verdict: {verdict_clause(model.label, found, base)}."
    where = f" ({model.directory})" if model.directory else ""
    trap = " By the reward it is better: the training over-optimised the reward."
    return (
        f"Verdict: worse: do not use {model.label}{where}. {verdict_clause('It', found, base)}."
        f"{trap if found.over_optimised else ''}"
    )


def verdict_clause(label: str, found: Verdict, base: ModelScores | None) -> str:
    """The verdict on a model without its end: such as "FIGA is better than its base by the verifier"."""
    by = f"by the {found.judge}"
    match found.outcome:
        case Outcome.WORSE:
            return f"{label} is worse than its base {by}"
        case Outcome.BETTER:
            return f"{label} is better than its base {by}"
        case Outcome.NO_DIFFERENCE:
            if found.same_model:
                return f"{label} is its base, unchanged"
            return f"no difference between {label} and its base was shown {by}"
        case Outcome.NOT_JUDGED:
            why = "the base model was not" if base is None else _too_few(found)
            return f"{label} was not judged, because {why}"


def _too_few(found: Verdict) -> str:
    count = found.change.n if found.change else 0
    prompts = "one held-out prompt has" if count else "no held-out prompt has"
    return f"{prompts} a score {f'of the {found.judge} ' if found.judge else ''}for both it and its base"


def comparison_sentences(data: ReportData) -> list[str]:
    """The main model against each baseline, trainings with little effect, and disagreement of the judges."""
    if data.main is None:
        return []
    sentences = [_versus_sentence(data.main, baseline) for baseline in data.baselines]
    sentences += [sentence for model in (data.main, *data.baselines) for sentence in _changes(data, model)]
    if data.base is not None and not data.main.is_same_model(data.base):
        sentences.append(_disagreement(data.base, data.main))
    return [sentence for sentence in sentences if sentence]


def _versus_sentence(main: ModelScores, baseline: ModelScores) -> str:
    if main.is_same_model(baseline):
        return (
            f"{main.label} and {baseline.label} are the same model: their weights are equal, value by value."
        )
    found = first_difference(baseline, main)
    if found is None:
        return f"{main.label} and {baseline.label} share no scored held-out prompts."
    metric, change = found[0], found[1].change
    unit = "points of the verifier" if metric is Metric.VERIFIER else "of mean reward"
    confidence = "95 % CI " if change.interval else ""
    evidence = f"({confidence}{interval_text(change, metric.decimals)})"
    size = number(abs(change.mean or 0), metric.decimals)
    if not change.excludes_zero:
        signed = number(change.mean, metric.decimals, signed=True)
        return f"{main.label} and {baseline.label} cannot be told apart: {signed} {unit} {evidence}."
    place = "ahead of" if (change.mean or 0) > 0 else "behind"
    return f"{main.label} is {place} {baseline.label} by {size} {unit} {evidence}."


def _disagreement(base: ModelScores, main: ModelScores) -> str:
    clause = disagreement_clause(base, main)
    return f"Beware: {clause}." if clause else ""


def disagreement_clause(base: ModelScores, main: ModelScores) -> str:
    """That verifier and reward moved clearly in opposite directions, and what it means; "" if not."""
    judged = difference(base, main, Metric.VERIFIER).change
    rewarded = difference(base, main, Metric.REWARD).change
    if not (judged.excludes_zero and rewarded.excludes_zero):
        return ""
    if ((judged.mean or 0) > 0) == ((rewarded.mean or 0) > 0):
        return ""
    risen, fallen = ("verifier", "reward") if (judged.mean or 0) > 0 else ("reward", "verifier")
    what = "the two judges disagree" if risen == "verifier" else "the training over-optimised the reward"
    return f"the mean {risen} score rose while the mean {fallen} score fell; {what}"


def _unchanged_sentence(model: ModelScores) -> str:
    change = model.change
    why = "their weights are equal, value by value"
    if change is not None and change.updates == 0:
        why = f"none of its {change.steps:,} steps made an update"
    return f"{model.label} is the base model, unchanged: {why}. Differences between their scores are chance."


def _changes(data: ReportData, model: ModelScores) -> Iterator[str]:
    """What a reader should know about a training before the scores."""
    base, change = data.base, model.change
    if base is not None and model.is_same_model(base):
        if model is not data.main:  # the main model's is the first sentence of all
            yield _unchanged_sentence(model)
        return
    if change is None:
        return
    if change.overflowed:
        yield (
            f"Beware: {change.overflowed:,} of {change.steps:,} updates of {model.label} were left out, "
            "because the gradient was not finite."
        )
    if changed_almost_nothing(change):
        yield (
            f"{model.label} changed almost nothing: {_figures(change)}. More steps or a higher learning rate "
            "change more."
        )
    if change.dtype and change.base_dtype and change.dtype != change.base_dtype:
        yield _dtypes(model.label, change)


def changed_almost_nothing(change: ModelChange) -> bool:
    """Whether a reader need not look for effects of the training."""
    if change.compared:
        return change.same >= _ALMOST_ALL_RESPONSES * change.compared
    return change.relative is not None and change.relative < _ALMOST_NO_CHANGE


def _figures(change: ModelChange) -> str:
    figures = []
    if change.relative is not None:
        figures.append(f"its weights moved by {percent(change.relative)}")
    if change.compared:
        same = f"{change.same:,} of {change.compared:,}"
        figures.append(f"{same} held-out responses are the base's, word for word")
    return " and ".join(figures)


def _dtypes(label: str, change: ModelChange) -> str:
    rounding = (
        "" if change.rounding is None else f": rounding alone moves weights by {percent(change.rounding)}"
    )
    if rounding and change.relative is not None:
        rounding += f", with the training it is {percent(change.relative)}"
    return (
        f"Beware: {label} was judged in {change.dtype}, the base in {change.base_dtype}, and part of the "
        f"difference may come from that{rounding}."
    )


def duration(seconds: float) -> str:
    """Such as "0.4 s", "74 s", "12 min 5 s" or "3 h 20 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def percent(share: float) -> str:
    """Such as "1.7 %" or "0.00012 %": two significant digits."""
    text = f"{100 * share:.2g}"
    return f"{float(text):.10f}".rstrip("0").rstrip(".") + " %" if "e" in text else f"{text} %"
