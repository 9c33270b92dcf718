"""What the held-out scores mean, in plain sentences made from the data alone, welcome or not."""

from figa_core.report.comparison import Difference, Metric, difference, interval_text, number
from figa_core.report.data import ModelScores, ReportData


def result_sentence(data: ReportData) -> str:
    """One plain sentence: did the main model get better on held-out prompts? Made from the data alone."""
    if data.main is None:
        return "No model has been trained in this run yet, so there is nothing to compare."
    if data.base is None:
        return (
            f"{data.main.label} was trained, but the base model was not evaluated: no comparison is possible."
        )
    for metric in Metric:
        found = difference(data.base, data.main, metric)
        if found.change.n:
            return _change_sentence(data.main.label, metric, found)
    return f"{data.main.label} was trained, but it and the base model share no scored held-out prompts."


def _change_sentence(label: str, metric: Metric, found: Difference) -> str:
    quantity, unit = _quantity(metric)
    decimals, change = metric.decimals, found.change
    span = f"from {number(found.before.mean, decimals)} to {number(found.after.mean, decimals)}{unit}"
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


def _quantity(metric: Metric) -> tuple[str, str]:
    if metric is Metric.VERIFIER:
        return "the verifier's mean score", " of 100"
    return "the mean reward", ""


def comparison_sentences(data: ReportData) -> list[str]:
    """How the main model stands against each baseline, and whether verifier and reward model disagree."""
    if data.main is None:
        return []
    sentences = [_versus_sentence(data.main, baseline) for baseline in data.baselines]
    if data.base is not None:
        sentences.append(_disagreement(data.base, data.main))
    return [sentence for sentence in sentences if sentence]


def _versus_sentence(main: ModelScores, baseline: ModelScores) -> str:
    metric = next((m for m in Metric if difference(baseline, main, m).change.n), None)
    if metric is None:
        return f"{main.label} and {baseline.label} share no scored held-out prompts."
    change = difference(baseline, main, metric).change
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
    judged = difference(base, main, Metric.VERIFIER).change
    rewarded = difference(base, main, Metric.REWARD).change
    if not (judged.excludes_zero and rewarded.excludes_zero):
        return ""
    if ((judged.mean or 0) > 0) == ((rewarded.mean or 0) > 0):
        return ""
    risen, fallen = ("verifier", "reward") if (judged.mean or 0) > 0 else ("reward", "verifier")
    return f"Beware: the mean {risen} score rose while the mean {fallen} score fell; the two judges disagree."
