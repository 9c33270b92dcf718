"""Settings become text, and secrets do not."""

from pathlib import Path

import pytest

from figa_core.config.file import parse_config
from figa_core.report.configuration import MASK, configuration_sections, library_versions, setting_text

CONFIG = {
    "workspace": {"path": "w"},
    "prompts": {"path": "p.jsonl"},
    "generation": {"model": "m"},
    "reward": {"model": "r"},
    "revision": {"model": "teacher", "base_url": "https://llm.example.org/v1"},
}


def test_every_section_of_a_real_config_is_there() -> None:
    sections = configuration_sections(parse_config(CONFIG, source="test", base=Path("/base")))
    assert sections["loss"]["gamma"] == "0.3"
    assert sections["revision"]["max_tokens"] == "1024"
    assert sections["revision"]["api_key_env"] == "OPENAI_API_KEY"
    assert sections["revision"]["base_url"] == "https://llm.example.org/v1"
    assert sections["evaluation"]["verifier"] == "not set"
    assert sections["evaluation"]["baselines"] == "none"


@pytest.mark.parametrize("name", ["api_key", "API_KEY", "hf_access_token", "password", "Authorization"])
def test_a_setting_named_like_a_secret_is_masked(name: str) -> None:
    assert setting_text(name, "sk-123") == MASK


def test_credentials_in_a_url_are_masked() -> None:
    text = setting_text("base_url", "https://me:hunter2@llm.example.org/v1?key=hunter3")
    assert text == f"https://{MASK}@llm.example.org/v1?{MASK}"


def test_other_values_are_shown_as_they_are() -> None:
    assert setting_text("tokens_per_minute", 200_000.0) == "200000.0"
    assert setting_text("packing", True) == "yes"
    assert setting_text("baselines", ["sft", "sft_revised"]) == "sft, sft_revised"
    assert setting_text("base_url", "http://127.0.0.1:8000/v1") == "http://127.0.0.1:8000/v1"
    assert setting_text("base_url", "http://[broken") == MASK


def test_versions_name_what_is_installed_and_leave_out_the_rest() -> None:
    versions = library_versions(["pydantic", "surely-not-installed"])
    assert set(versions) == {"Python", "platform", "pydantic"}
