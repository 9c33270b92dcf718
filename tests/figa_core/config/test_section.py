"""Rules for all sections and fields of the settings."""

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from figa_core.config import PipelineConfig, PromptsConfig, RevisionConfig
from figa_core.config.file import parse_config
from figa_core.config.section import Section, is_optional

from .test_sections import MINIMAL

SECTIONS: dict[str, type[Section]] = {
    name: kind
    for name, field in PipelineConfig.model_fields.items()
    for kind in (field.annotation, *get_args(field.annotation))
    if isinstance(kind, type) and issubclass(kind, Section)
}
FIELDS = [(section, name, field) for section, m in SECTIONS.items() for name, field in m.model_fields.items()]
OPTIONAL = [(section, name) for section, name, field in FIELDS if is_optional(field)]
EMPTY_SAYS_SOMETHING = {("prompts", "system_prompt"): "", ("evaluation", "verifier"): ValidationError}


def with_value(section: str, name: str, value: object) -> Any:
    """The field's value in minimal settings with this one."""
    data = tomllib.loads(MINIMAL)
    data.setdefault(section, {})[name] = value
    return getattr(getattr(PipelineConfig.model_validate(data), section), name)


def test_every_section_is_looked_at() -> None:
    assert set(SECTIONS) | {"rewards"} == set(PipelineConfig.model_fields)
    assert {
        ("prompts", "reference_field"),
        ("prompts", "limit"),
        ("spending", "budget_usd"),
        ("admission", "reward_gain_above"),
        ("loss", "negative_nll_max"),
        ("revision_prompt", "with_reference"),
    } <= set(OPTIONAL)


@pytest.mark.parametrize(("section", "name"), OPTIONAL)
@pytest.mark.parametrize("word", ["none", "None", "NONE", " none ", "null", "Null"])
def test_every_optional_setting_can_be_switched_off_in_words(section: str, name: str, word: str) -> None:
    assert with_value(section, name, word) is None


@pytest.mark.parametrize(("section", "name"), OPTIONAL)
def test_an_empty_text_means_none_unless_it_is_a_value(section: str, name: str) -> None:
    expected = EMPTY_SAYS_SOMETHING.get((section, name))
    if expected is ValidationError:
        with pytest.raises(ValidationError):
            with_value(section, name, "")
    else:
        assert with_value(section, name, "") == expected


@pytest.mark.parametrize(("section", "name"), OPTIONAL)
def test_the_description_of_every_optional_setting_names_the_word(section: str, name: str) -> None:
    assert '"none"' in (SECTIONS[section].model_fields[name].description or "")


@pytest.mark.parametrize(("section", "name"), OPTIONAL)
def test_the_schema_of_the_form_accepts_the_word(section: str, name: str) -> None:
    schema = TypeAdapter(SECTIONS[section]).json_schema()["properties"][name]
    texts = [choice for choice in schema["anyOf"] if choice.get("type") == "string"]
    assert len(texts) == 1  # a text field accepts the word anyway
    assert any("none" in choice.get("enum", ["none"]) for choice in texts)
    assert {"type": "null"} in schema["anyOf"]


@pytest.mark.parametrize(("section", "name"), [(s, n) for s, n, field in FIELDS if not field.is_required()])
def test_every_default_is_a_valid_value(section: str, name: str) -> None:
    """Neither pydantic nor the type checker compares a default with its setting's type and bounds."""
    default = SECTIONS[section].model_fields[name].get_default(call_default_factory=True)
    assert with_value(section, name, default) == default


def test_a_required_value_cannot_be_switched_off() -> None:
    with pytest.raises(ValidationError, match="seed"):
        with_value("training", "seed", "none")
    assert with_value("workspace", "note", "none") == "none"


def test_none_in_words_equals_null_in_a_form() -> None:
    data = tomllib.loads(MINIMAL)
    in_words = {**data, "loss": {"negative_nll_max": "none"}, "admission": {"reward_gain_above": "null"}}
    in_a_form = {**data, "loss": {"negative_nll_max": None}, "admission": {"reward_gain_above": None}}
    assert PipelineConfig.model_validate(in_words) == PipelineConfig.model_validate(in_a_form)


def _numbers(field: FieldInfo) -> bool:
    return any(kind in str(field.annotation) for kind in ("int", "float")) and "dict" not in str(
        field.annotation
    )


@pytest.mark.parametrize(("section", "name"), [(s, n) for s, n, field in FIELDS if _numbers(field)])
def test_numbers_are_not_booleans_and_not_too_large_to_be_stored(section: str, name: str) -> None:
    for value in (True, False, 2**63, -(2**63) - 1, 10**30, 10**400):
        with pytest.raises(ValidationError, match=name):
            with_value(section, name, value)


@pytest.mark.parametrize(("section", "name"), [(s, n) for s, n, f in FIELDS if "int" in str(f.annotation)])
def test_a_number_in_quotes_has_the_same_bounds(section: str, name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        with_value(section, name, "9" * 25)


def test_a_number_switched_off_by_false_gets_a_hint() -> None:
    with pytest.raises(ValidationError, match='"none" switches it off'):
        with_value("admission", "reward_gain_above", False)


@pytest.mark.parametrize(
    ("section", "name"),
    [(s, n) for s, n, f in FIELDS if "str" in str(f.annotation) and "dict" not in str(f.annotation)],
)
def test_no_text_contains_a_nul_character(section: str, name: str) -> None:
    with pytest.raises(ValidationError, match=f"(?s){section}.{name}.*NUL"):
        with_value(section, name, "a\0b")


def test_the_largest_seeds_work_in_a_training() -> None:
    import torch

    largest = 2**32 - 1
    assert with_value("training", "seed", largest) == largest
    torch.Generator().manual_seed((largest << 32) + 2**31)
    with pytest.raises(ValidationError, match=r"training\.seed"):
        with_value("training", "seed", largest + 1)
    assert with_value("generation", "seed", 2**63 - 1) == 2**63 - 1


def test_a_forms_input_is_not_in_the_error() -> None:
    with pytest.raises(ValidationError) as caught:
        RevisionConfig.model_validate({"model": "m", "base_url": "https://me:hunter2@host/v1"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "  "])
def test_a_name_is_not_empty(name: str) -> None:
    with pytest.raises(ValidationError, match="prompt_field"):
        PromptsConfig.model_validate({"path": "p.jsonl", "prompt_field": name})


@pytest.mark.parametrize(
    ("section", "name"), [("prompts", "path"), ("workspace", "path"), ("reward", "model")]
)
def test_a_path_is_not_empty(section: str, name: str) -> None:
    with pytest.raises(ValidationError, match="the path is empty"):
        with_value(section, name, " ")


def test_reading_settings_switches_off_nothing_that_is_stored(tmp_path: Path) -> None:
    data = tomllib.loads(MINIMAL)
    data["prompts"] |= {"system_prompt": "", "reference_field": "none"}
    config = parse_config(data, source="a form", base=tmp_path)
    stored = config.model_dump(mode="json")
    assert parse_config(stored, source="a run", base=tmp_path) == config
    assert stored["prompts"]["system_prompt"] == ""
