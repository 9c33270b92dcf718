"""Keys come from the environment or from a Secret block, which is read each time; no message shows one."""

from typing import Any

import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from figa_core.config import PipelineConfig, RevisionConfig
from figa_core.config.grader import GraderConfig
from figa_core.errors import ConfigError
from tasks.api_keys import api_key_of, names_a_key
from tasks.grading_settings import GradingSections, grader_key

KEY = "a-key-that-must-appear-nowhere"
BLOCK = RevisionConfig(model="m", api_key_env="FIGA_TEST_KEY", api_key_secret="figa-test")


async def save(value: Any) -> None:
    async with get_client() as client:
        await Secret(value=value).asave("figa-test", overwrite=True, client=client)


def test_the_variable_holds_the_key_unless_a_block_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGA_TEST_KEY", f"{KEY}\n")
    assert api_key_of(RevisionConfig(model="m", api_key_env="FIGA_TEST_KEY"), "revision") == KEY
    assert not names_a_key(GraderConfig())
    assert names_a_key(GraderConfig(api_key_secret="a-block"))


async def test_a_block_is_read_again_each_time_also_within_a_flow(
    prefect_api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIGA_TEST_KEY", "the-one-in-the-environment")
    for key in (KEY, "another-key"):
        await save(SecretStr(f" {key}\n"))
        assert api_key_of(BLOCK, "revision") == key


@pytest.mark.parametrize(
    ("value", "words"), [("", "is empty"), (f'"{KEY}"', "quotes around"), ({"key": KEY}, "holds no text")]
)
async def test_a_block_without_a_usable_key_is_named_and_its_content_is_not(
    prefect_api: str, value: Any, words: str
) -> None:
    await save(value)
    with pytest.raises(ConfigError, match=words) as refused:
        api_key_of(BLOCK, "grader")
    assert "grader.api_key_secret: the Prefect Secret block figa-test" in str(refused.value)
    assert KEY not in str(refused.value)


def test_a_missing_block_is_named_with_the_server(prefect_api: str) -> None:
    missing = RevisionConfig(model="m", api_key_secret="nobody-made-it")
    with pytest.raises(ConfigError, match=rf"no Secret block nobody-made-it .* at {prefect_api}"):
        api_key_of(missing, "revision")


def test_a_block_needs_a_server() -> None:
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ConfigError, match=r"revision\.api_key_secret: .*PREFECT_API_URL is not set"),
    ):
        api_key_of(BLOCK, "revision")


@pytest.mark.parametrize(
    ("grader", "expected"),
    [
        ({}, "revisers"),
        ({"api_key_env": "GRADERS"}, "graders"),
        ({"api_key_env": "GRADERS", "api_key_secret": "none"}, "graders"),
    ],
)
def test_the_grader_has_the_revisers_key_unless_it_names_one(
    grader: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVISERS", "revisers")
    monkeypatch.setenv("GRADERS", "graders")
    config = PipelineConfig.model_validate(
        {
            "workspace": {"path": "w", "name": "n"},
            "prompts": {"path": "p"},
            "generation": {"model": "m"},
            "reward": {"model": "r"},
            "revision": {"model": "m", "api_key_env": "REVISERS"},
            "weighting": {"scheme": "llm_graded"},
            "grader": {"model": "g", **grader},
        }
    )
    sections = GradingSections.of(config)
    assert sections is not None
    assert grader_key(sections) == expected


@pytest.mark.parametrize("name", ["sk-abcdefghijklmnop", "Ab1" * 10, "Not_A_Block", "-"])
def test_text_that_is_no_name_of_a_block_is_refused_and_a_key_is_not_repeated(name: str) -> None:
    with pytest.raises(ValueError, match=r"seems to be a key itself|must be a block's name") as refused:
        RevisionConfig(model="m", api_key_secret=name)
    assert name == "-" or name not in str(refused.value)
