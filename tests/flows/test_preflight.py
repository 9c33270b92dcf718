"""The checks before a run, together: one message names everything that is wrong."""

from pathlib import Path

import pytest

from figa_core.errors import ConfigError
from flows.preflight import CHECKS, check

from .checks.conftest import as_config


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
        "bad.jinja: the prompt template names respnse",
        "figa is the main objective already",
        "'no_such_module:f': cannot be imported",
    ):
        assert part in said, part
    with pytest.raises(ConfigError, match=r"^8 problems"):
        check(as_config(data, tmp_path), needs_key=False)


def test_every_check_that_another_waits_for_comes_before_it() -> None:
    names = [check.about for check in CHECKS]
    assert len(set(names)) == len(names)
    for place, each in enumerate(CHECKS):
        assert set(each.after) <= set(names[:place]), each.about
