"""The file of prompts: whether its rows can be used, and whether they fit the settings."""

from collections import Counter
from collections.abc import Iterator

from figa_core.findings import Finding, problem, warning
from figa_core.prompts.files import unread
from figa_core.records import Prompt
from figa_core.training.step_size import AUTO, SETTING, about_few_updates, number_of_epochs, updates
from flows.checks.facts import Facts
from flows.checks.settings import reading

_NAMES_SHOWN = 5
_SAYING_NOTHING_MIN = 3
_WORDS_FOR_NOTHING = {
    "nan",
    "none",
    "null",
    "n/a",
    "na",
    "<na>",
    "#n/a",
    "nil",
    "undefined",
    "-",
    "--",
    "tbd",
}


def check_rows(facts: Facts) -> Iterator[Finding]:
    """The first thousand rows can be used, or why not; raises InputError."""
    found, path = facts.prompts, facts.config.prompts.path
    rows = f"its {found.rows:,} rows" if found.whole else f"its first {found.rows:,} rows"
    if not found.rows:
        yield problem("prompts.path", f"{path} has no rows. Put one prompt on each line.")
    elif not found.usable:
        yield problem(
            "prompts.path",
            f"{path}: none of {rows} can be used ({found.reasons_text()}). Correct the file, or "
            "prompts.prompt_field.",
        )
    elif found.unusable:
        yield warning(
            "prompts.path",
            f"{path}: {found.unusable:,} of {rows} cannot be used and are left out ({found.reasons_text()}).",
        )
    if others := unread(path):
        more = f" and {len(others) - _NAMES_SHOWN:,} more" if len(others) > _NAMES_SHOWN else ""
        yield warning(
            "prompts.path",
            f"{path}: {', '.join(others[:_NAMES_SHOWN])}{more} in it are not read: only JSON and Parquet "
            "are, and no directories. Convert or move them if they belong to the prompts.",
        )


def check_uses(facts: Facts) -> Iterator[Finding]:
    """There are prompts to train on, prompts to judge by, and the references that the objectives need."""
    yield from _splits(facts)
    yield from _references(facts)
    yield from _types(facts)
    yield from _steps(facts)


def _splits(facts: Facts) -> Iterator[Finding]:
    found, prompts = facts.prompts, facts.config.prompts
    if not found.whole:
        return
    read = f"{prompts.path} has {found.usable:,} usable prompts"
    if prompts.limit is not None:
        read += f" in its first {prompts.limit:,} rows (prompts.limit)"
    if not found.train_prompts:
        yield problem(
            "prompts.held_out_share",
            f"{prompts.held_out_share:g} holds out every prompt and leaves none to train on: {read}. "
            "Lower it, or give more prompts.",
        )
    elif not found.held_out_prompts:
        yield warning(
            "prompts.held_out_share",
            f"{prompts.held_out_share:g} holds out no prompt: {read}. The models will be trained but not "
            "judged.",
        )


def _references(facts: Facts) -> Iterator[Finding]:
    found, field = facts.prompts, facts.config.prompts.reference_field
    rows_with = found.with_reference + sum(p.reference is not None for p in found.held_out_prompts)
    if field and "reference_field" in facts.config.prompts.model_fields_set and not rows_with:
        which = "no row" if found.whole else f"none of the first {found.rows:,} rows"
        yield warning(
            "prompts.reference_field",
            f'{which} has a reference in the field {field!r}. Correct it, or set it to "none".',
        )
    echoes = sum(p.reference is not None and p.reference.strip() == _asked(p) for p in found.all_prompts)
    if echoes and echoes * 2 >= rows_with:
        yield warning(
            "prompts.reference_field",
            f"{echoes:,} of {rows_with:,} references in the field {field!r} are the prompt itself. Name the "
            "field with the answers.",
        )
    empty = Counter(p.reference for p in found.all_prompts if _says_nothing(p.reference)).most_common(1)
    if empty and empty[0][1] >= _SAYING_NOTHING_MIN:
        text, count = empty[0]
        yield warning(
            "prompts.reference_field",
            f"{count:,} of {rows_with:,} references in the field {field!r} are {text!r}, which revisions "
            "would take for the truth. If it means none, leave the field out or set it to null.",
        )
    if field is None or found.with_reference or not found.train_prompts:
        return
    for name, setting in reading(facts.config, "reference").items():
        text = f"{name} trains on references (prompts.reference_field = {field!r}), but"
        if found.whole:
            advice = "Train on the revisions instead (sft_revised)."
            yield problem(setting, f"{text} no prompt to train on has one. {advice}")
        else:
            yield warning(setting, f"{text} none of the first {found.rows:,} rows has one.")


def _says_nothing(reference: str | None) -> bool:
    return reference is not None and reference.strip().lower() in _WORDS_FOR_NOTHING


def _asked(prompt: Prompt) -> str:
    return prompt.messages[-1].content.strip()


def _types(facts: Facts) -> Iterator[Finding]:
    found, field = facts.prompts, facts.config.prompts.type_field
    typed = any(prompt.type for prompt in (*found.train_prompts, *found.held_out_prompts))
    if field is not None and found.usable and not typed:
        which = "no row" if found.whole else f"none of the first {found.rows:,} rows"
        yield warning(
            "prompts.type_field",
            f'{which} has a type in the field {field!r}. Correct it, or set it to "none".',
        )


def _steps(facts: Facts) -> Iterator[Finding]:
    found, config, training = facts.prompts, facts.config, facts.config.training
    samples = config.generation.samples_per_prompt if config.filter.samples_kept == "all" else 1
    pairs, size = samples * len(found.train_prompts), training.pairs_per_step
    if not found.whole or not pairs or size == AUTO:
        return
    if about_few_updates(size, pairs=pairs, epochs=training.epochs, max_steps=training.max_steps):
        epochs = number_of_epochs(training.epochs, pairs=pairs, size=size)
        most = updates(int(size), pairs=pairs, epochs=epochs)
        yield warning(
            SETTING,
            f"a step takes {size:,} pairs, but these prompts give at most {pairs:,} pairs: that is at most "
            f'{most:,} updates. Lower it, or set it to "auto".',
        )
