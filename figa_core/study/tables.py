"""The rows and sentences of a study of the distribution shift, as its page and the terminal show them."""

from collections.abc import Iterator, Mapping

from figa_core.evaluation.statistics import Estimate
from figa_core.study.data import ShiftStudy
from figa_core.study.mmd import Discrepancy
from figa_core.study.shift import EqualData

SYMBOLS = {"response": "Ŷ", "revision": "Ỹ", "reference": "Y"}
NO_KL_OF_ANSWERS = (
    "The KL divergence of the answers Ỹ and Y themselves is not claimed: one answer a prompt does not show "
    "the entropy of what wrote it, which the divergence needs. That of a trained model from its base is "
    "estimated on Ŷ, which are samples of the base."
)
_SMALL_P = 0.05
_NONE = "–"


def sentences(study: ShiftStudy) -> Iterator[str]:
    """What the figures say, and what they do not."""
    yield from _of_targets(study)
    yield from _of_models(study)
    yield NO_KL_OF_ANSWERS


def _of_targets(study: ShiftStudy) -> Iterator[str]:
    base = next(iter(study.nll))
    found = study.reference_less_revision[base]
    if found.mean is None:
        yield "No pair has a reference, so Ỹ cannot be compared with Y."
        return
    yield (
        f"Under {base}, references are {_said(found, 'less likely than', 'more likely than')} revisions: "
        f"{_number(found)} nats a token (n = {found.n:,} pairs with both)."
    )
    equal = study.equal_reward
    difference = None if equal is None else equal.nll_differences[base]
    if equal is None or difference is None or difference.n < 2:
        yield "Too few pairs have Ỹ and Y of equal reward to compare them there."
        return
    yield (
        f"Where both have the same reward (±{equal.caliper:.2g}; left: {_number(equal.reward_difference)}), "
        f"references are {_said(difference, 'less likely than', 'more likely than')} revisions: "
        f"{_number(difference)} nats a token (n = {equal.pairs:,})."
    )


def _of_models(study: ShiftStudy) -> Iterator[str]:
    for each in study.equal_data:
        where = _said(each.kl, "further from", "nearer to", "not shown to be nearer to or further from")
        line = (
            f"Trained on {each.pairs:,} pairs each, {each.other} is {where} the base than {each.one}, by KL: "
            f"{_number(each.kl)} nats a token"
        )
        if each.kl_at_equal_reward.n > 1:
            line += f"; where Ỹ and Y have the same reward: {_number(each.kl_at_equal_reward)}"
        yield f"{line}."
    if len(study.trained_on) > 1 and not study.equal_data:
        had = ", ".join(f"{model} {pairs:,}" for model, pairs in study.trained_on.items())
        yield f"No two models were trained on equally many pairs ({had}), so none are compared."


def _said(
    found: Estimate, above: str, below: str, neither: str = "not shown to be less or more likely than"
) -> str:
    if not found.excludes_zero or found.mean is None:
        return neither
    return above if found.mean > 0 else below


def nll_rows(study: ShiftStudy) -> list[list[str]]:
    """NLL and its differences by model, in nats a token; the first row has the names."""
    names = ["model", "trained on", *SYMBOLS.values(), "Ỹ − Ŷ", "Y − Ŷ", "Y − Ỹ"]
    rows = [[*names, "Y − Ỹ at equal reward", "KL from base"]]
    equal = {} if study.equal_reward is None else study.equal_reward.nll_differences
    for model, nll in study.nll.items():
        shifts, drift, had = study.shifts[model], study.kl_from_base.get(model), study.trained_on.get(model)
        rows.append(
            [
                model,
                "" if had is None else f"{had:,} pairs",
                *(_NONE if nll[answer].mean is None else f"{nll[answer].mean:.3f}" for answer in SYMBOLS),
                *(_number(shifts[answer]) for answer in ("revision", "reference")),
                _number(study.reference_less_revision[model]),
                _number(equal[model]) if model in equal else _NONE,
                "" if drift is None else _number(drift),
            ]
        )
    return rows


def equal_data_rows(study: ShiftStudy) -> list[list[str]]:
    """Models that had equally many pairs, two by two; the first row has the names."""
    names = ["pairs", "models", "KL from base", "KL, Ỹ and Y of equal reward", "NLL of Ỹ", "NLL of Y"]
    return [names, *([f"{each.pairs:,}", *_of_two(each)] for each in study.equal_data)]


def _of_two(models: EqualData) -> list[str]:
    differences = (
        models.kl, models.kl_at_equal_reward, models.nll["revision"], models.nll["reference"]
    )  # fmt: skip
    return [f"{models.other} less {models.one}", *map(_number, differences)]


def distance_rows(study: ShiftStudy) -> list[list[str]]:
    """How far the answers are from Ŷ; the first row has the names, "*" is a small p."""
    rows = [["answer", "pairs", *_names(study.novel_shares)]]
    for answer, novel in study.novel_shares.items():
        edited, distance = study.edit_shares[answer], study.discrepancies[answer]
        rows.append([SYMBOLS[answer], f"{edited.n:,}", *_measures(edited, novel, distance)])
    return rows


def answer_rows(study: ShiftStudy) -> list[list[str]]:
    """How far the held-out answers of trained models are from the base's; the first row has the names."""
    rows = [["model", "prompts", *_names({model: of.novel_shares for model, of in study.answers.items()})]]
    for model, of in study.answers.items():
        rows.append([model, f"{of.prompts:,}", *_measures(of.edit_share, of.novel_shares, of.discrepancy)])
    return rows


def _names(novel_shares: Mapping[str, Mapping[int, float | None]]) -> list[str]:
    grams = list(next(iter(novel_shares.values()), {}))
    return ["tokens edited", *(f"new {n}-grams" for n in grams), "embedded", "MMD²", "p"]


def _measures(edited: Estimate, novel: Mapping[int, float | None], distance: Discrepancy | None) -> list[str]:
    return [
        _NONE if edited.mean is None else f"{edited.mean:.1%}",
        *(_NONE if share is None else f"{share:.1%}" for share in novel.values()),
        *([_NONE] * 3 if distance is None else _of(distance)),
    ]


def _of(distance: Discrepancy) -> list[str]:
    small = " *" if distance.p < _SMALL_P else ""
    return [f"{distance.vectors:,}", f"{distance.squared:.4f}", f"{distance.p:.3f}{small}"]


def _number(value: Estimate) -> str:
    if value.mean is None:
        return _NONE
    ends = "" if value.interval is None else f" ({value.interval[0]:.3f} to {value.interval[1]:.3f})"
    return f"{value.mean:+.3f}{ends}"
