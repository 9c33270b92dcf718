"""What settings decide, and the ids of runs that follow from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import pytest
from pydantic import Field

from figa_core.config import PipelineConfig
from figa_core.config.decisions import (
    Always,
    Decides,
    Within,
    mark_of,
    settings_of,
    values_in_id,
    values_within,
)
from figa_core.config.file import load_config
from figa_core.config.identity import run_id
from figa_core.config.rewards import KINDS
from figa_core.config.section import Section
from tests.figa_core.config.other_values import OTHERS, config_of

PRESETS = Path(__file__).resolve().parents[3] / "deployments" / "presets"


def names_of_settings(config: PipelineConfig) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for setting in settings_of(config):
        names.setdefault(setting.section, set()).add(setting.field)
    return names


def id_of(config: PipelineConfig) -> str:
    return run_id(
        config, prompts="prompts", generator="generator", scorer="scorer", templates=["without", "with"]
    )


def sections_within(section: type[Section]) -> Iterator[type[Section]]:
    yield section
    for field in section.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, Section):
                yield from sections_within(kind)


FIELDS = [
    (section, name)
    for top in (PipelineConfig, *KINDS.values())
    for section in sections_within(top)
    if section is not PipelineConfig
    for name in section.model_fields
]


@pytest.mark.parametrize(("section", "name"), FIELDS, ids=[f"{s.__name__}.{n}" for s, n in FIELDS])
def test_every_setting_says_what_it_decides(section: type[Section], name: str) -> None:
    field = section.model_fields[name]
    decides = mark_of(field, Decides)
    assert decides is not None, "declare it with rows(…), models(…), judgement(…) or nothing(…)"
    if decides is Decides.NOTHING:
        assert mark_of(field, Always) is None
        assert mark_of(field, Within) is None


# These were not part of ids at first.
ENTERED_LATER = {
    "prompts": ("type_field",),
    "generation": ("thinking",),
    "revision_prompt": ("max_edit_share", "asked_again_max"),
    "loss": (
        *("preference_beta", "preference_margin"),
        *("gamma_fade_tokens", "kl_weight", "negatives"),
    ),
    "alarms": tuple(OTHERS["alarms"]),
    "grader": tuple(OTHERS["grader"]),
    **{name: tuple(fields) for name, fields in OTHERS.items() if "." in name},
}
# The ids when the preset was new, with the first weight of unchanged tokens where it names none: no update
# may change them.
AT_FIRST = {"loss": {"gamma": 0.0}}
GOLDEN = {
    "benchmarks": "run-s256-d3bb7e3951feb7d5f2d23fd86f22f90e",
    "demo": "run-s256-28706842482e8b5c98ba0bf9cfa844ac",
    "demo-real": "run-s256-537175eae2ba71360695e03fb0186fc5",
    "first-run": "run-s256-16d6d58c159fc7eb713dabf1fab8e9b6",
    "judge": "run-s256-150ed5e5f4fb091fb0a9e21b53564a5b",
    "openai": "run-s256-5b41d7876c4b2e1d5f1887190a50166e",
    "rewards": "run-s256-498c5a7ecd59d4f09ab62ad54b938d4b",
}


@pytest.mark.parametrize("preset", GOLDEN)
def test_the_id_of_a_presets_run_never_changes(preset: str) -> None:
    path = PRESETS / f"{preset}.toml"
    overrides = {} if "gamma" in load_config(path).loss.model_fields_set else AT_FIRST
    assert id_of(load_config(path, overrides)) == GOLDEN[preset]


def test_every_preset_has_a_golden_id() -> None:
    assert {path.stem for path in PRESETS.glob("*.toml")} == set(GOLDEN)


def test_the_id_of_a_run_never_changes() -> None:
    assert id_of(config_of(AT_FIRST)) == "run-s256-11c9dd0ae9fdc2487d232cfc2fb2b40f"
    assert id_of(config_of({})) == "run-s256-683e373e1781553da4d10444175262df"
    known = {
        section: {name: value for name, value in fields.items() if name not in ENTERED_LATER.get(section, ())}
        for section, fields in OTHERS.items()
    }
    others = {**known, "revision": {**OTHERS["revision"], "model": "m"}}
    assert id_of(config_of(others)) == "run-s256-47760603742baaaf94da4f84e2542ea5"


@pytest.mark.parametrize(
    ("section", "field"), [(section, field) for section, fields in OTHERS.items() for field in fields]
)
def test_a_setting_changes_the_runs_id_if_it_decides_something(section: str, field: str) -> None:
    usual, other = config_of({}), config_of({section: {field: OTHERS[section][field]}})
    [changed] = [found for found in settings_of(other) if (found.section, found.field) == (section, field)]
    assert not changed.at_default
    elsewhere = changed.within is not None and changed.within.part != "reviser"  # see tests/flows
    decides = changed.decides is not Decides.NOTHING and not elsewhere
    assert (id_of(other) != id_of(usual)) == decides


def test_there_is_another_value_for_every_setting() -> None:
    assert {section: set(fields) for section, fields in OTHERS.items()} == names_of_settings(config_of({}))


class Some(Section):
    plain: Annotated[int, Decides.ROWS] = 1
    renamed: Annotated[int, Decides.MODELS, Always("old_name")] = 2
    inside: Annotated[int, Decides.ROWS, Within("scorer")] = 3
    neither: Annotated[int, Decides.NOTHING] = 4
    listed: Annotated[tuple[str, ...], Decides.ROWS] = Field(default_factory=tuple)
    needed: Annotated[int, Decides.ROWS]


class Whole(Section):
    some: Some
    more: Some


def test_a_default_is_left_out_unless_it_was_always_part_of_the_id() -> None:
    usual = Some(needed=0)
    whole = Whole(some=usual, more=Some(plain=5, renamed=6, inside=7, neither=8, listed=("a",), needed=9))
    assert values_in_id(settings_of(whole, "some")) == {"old_name": 2, "some.needed": 0}
    assert values_in_id(settings_of(whole, "more")) == {
        "more.plain": 5,
        "old_name": 6,
        "more.listed": ("a",),
        "more.needed": 9,
    }
    assert values_within("scorer", settings_of(whole, "more")) == {"inside": 7}
    assert [setting.section for setting in settings_of(whole)] == ["some"] * 6 + ["more"] * 6


def test_the_settings_of_a_table_within_a_section_enter_the_id_one_by_one() -> None:
    class Table(Section):
        one: Annotated[int, Decides.MODELS] = 1
        two: Annotated[int, Decides.MODELS] = 2

    class Outer(Section):
        table: Annotated[Table, Decides.MODELS] = Table()

    class Config(Section):
        outer: Outer

    assert values_in_id(settings_of(Config(outer=Outer()))) == {}
    changed = Config(outer=Outer(table=Table(two=3)))
    assert values_in_id(settings_of(changed)) == {"outer.table.two": 3}


def test_a_field_without_a_mark_counts_as_deciding() -> None:
    class Silent(Section):
        field: int = 1

    class Config(Section):
        silent: Silent

    assert values_in_id(settings_of(Config(silent=Silent(field=2)))) == {"silent.field": 2}
