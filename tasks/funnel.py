"""The funnel of a run, for the report, `figa status` and Prefect's UI."""

from collections.abc import Mapping

from figa_core.report.funnel import Drop, Funnel, FunnelStep
from figa_core.storage.summary import Counts


def funnel_of(counts: Counts) -> Funnel:
    """The funnel of a run: rows, prompts, responses, kept, revised, admitted, weighted."""
    rows = counts.training_prompts + counts.held_out_prompts + sum(counts.bad_rows.values())
    out_of_file = {**counts.bad_rows, "held out, for evaluation only": counts.held_out_prompts}
    steps = (
        ("rows", rows, {}),
        ("prompts", counts.training_prompts, out_of_file),
        ("responses", counts.responses, counts.not_generated),
        ("kept", counts.kept, counts.not_kept),
        ("revised", counts.revised, counts.not_revised),
        ("admitted", counts.admitted, counts.not_admitted),
        ("weighted", counts.weighted, counts.not_weighted),
    )
    return Funnel(tuple(FunnelStep(name, count, _drops(reasons)) for name, count, reasons in steps))


def _drops(reasons: Mapping[str, int]) -> tuple[Drop, ...]:
    return tuple(Drop(reason, count) for reason, count in reasons.items() if count)
