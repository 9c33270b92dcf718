"""The checks before a run together: one message names everything that is wrong."""

from pathlib import Path

import pytest

from figa_core.config.file import read_settings
from figa_core.errors import ConfigError
from flows.preflight import CHECKS, check, usable

from .checks.conftest import as_config, write_rows


def test_everything_that_is_wrong_is_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FIGA_TEST_NO_KEY", raising=False)
    monkeypatch.setenv("FIGA_VLLM_PYTHON", str(tmp_path / "no-python"))
    (tmp_path / "in-the-way").write_text("a file")
    (tmp_path / "prompts.jsonl").write_text('{"question": "wrong field"}\n')
    (tmp_path / "bad.jinja").write_text("{{ respnse }}")
    data = {
        "workspace": {"path": "in-the-way"},
        "prompts": {"path": "prompts.jsonl"},
        "generation": {"model": "no-base", "engine": "vllm"},
        "reward": {"model": "no-reward"},
        "revision": {"model": "m", "api_key_env": "FIGA_TEST_NO_KEY"},
        "revision_prompt": {"with_reference": "bad.jinja"},
        "evaluation": {"baselines": ["figa"], "verifier": "no_such_module:f"},
    }
    with pytest.raises(ConfigError) as caught:
        check(as_config(data, tmp_path))
    said = str(caught.value)
    assert said.startswith("9 problems to fix before the run can start:")
    for part in (
        "in-the-way is a file",
        "none of its 1 rows can be used",
        "no-base",
        "no-reward",
        "FIGA_VLLM_PYTHON",
        "FIGA_TEST_NO_KEY is empty",
        "bad.jinja: the prompt template uses respnse",
        "figa is already the main objective",
        "'no_such_module:f': cannot be imported",
    ):
        assert part in said, part
    with pytest.raises(ConfigError, match=r"^8 problems"):
        check(as_config(data, tmp_path), needs_key=False)


def test_a_wrong_setting_does_not_hide_problems_with_the_others(tmp_path: Path) -> None:
    write_rows(tmp_path / "prompts.jsonl", [])
    (tmp_path / "run.toml").write_text(
        """
        workspace.path = "w"
        prompts = {path = "prompts.jsonl", limit = 0}
        generation.model = "no-base"
        reward.model = "no-reward"
        revision = {model = "m", api_key_env = "sk-secret"}
        evaluation.baselines = ["figa"]
        training = {epochs = "many", epoch = 1}
        """
    )
    with pytest.raises(ConfigError) as caught:
        usable(read_settings(tmp_path / "run.toml"))
    said = str(caught.value)
    assert "run.toml: 4 setting(s) to fix:" in said
    assert "4 problems to fix before the run can start:" in said
    parts = ("training.epochs:", "prompts.limit:", "no-base", "no-reward", "prompts.jsonl", "evaluation.ba")
    assert [part for part in parts if part not in said] == []
    assert "sk-secret" not in said
    assert "is empty. Set it to the API key" not in said


def test_problems_with_a_default_that_replaces_a_wrong_setting_are_not_reported(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        """
        workspace.path = "w"
        prompts.path = "prompts.jsonl"
        generation.model = "no-base"
        reward.model = "no-reward"
        revision.model = "m"
        weighting.max_length = 64
        training.tokens_per_batch = "many"
        """
    )
    with pytest.raises(ConfigError, match=r"training\.tokens_per_batch: ") as caught:
        usable(read_settings(tmp_path / "run.toml"))
    assert "a forward pass takes" not in str(caught.value)


def test_if_too_few_settings_are_valid_only_the_settings_are_reported(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("training.epochs = 0")
    with pytest.raises(ConfigError, match=r"(?s)6 setting\(s\) to fix.*training\.epochs"):
        usable(read_settings(tmp_path / "run.toml"))


def test_every_check_that_another_waits_for_comes_before_it() -> None:
    names = [check.about for check in CHECKS]
    assert len(set(names)) == len(names)
    for place, each in enumerate(CHECKS):
        assert set(each.after) <= set(names[:place]), each.about
