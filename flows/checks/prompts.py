"""The file of prompts: whether its rows can be used, and whether they are what the settings need."""

from collections.abc import Iterator

from figa_core.findings import Finding, problem, warning
from flows.checks.facts import Facts

_UNUSABLE_SHARE_SAID = 0.1


def check_prompts(facts: Facts) -> Iterator[Finding]:
    """Its first thousand rows, with the reasons of those that cannot be used; raises InputError."""
    found, path = facts.prompts, facts.config.prompts.path
    rows = f"its {found.rows:,} rows" if found.whole else f"its first {found.rows:,} rows"
    if not found.rows:
        yield problem("prompts.path", f"{path} holds no row. Put one prompt a line into it.")
    elif not found.usable:
        yield problem(
            "prompts.path",
            f"{path}: none of {rows} can be used ({found.reasons_text()}). Correct the file, or "
            "prompts.prompt_field.",
        )
    elif found.unusable > _UNUSABLE_SHARE_SAID * found.rows:
        yield warning(
            "prompts.path",
            f"{path}: {found.unusable:,} of {rows} cannot be used and are left out ({found.reasons_text()}).",
        )
