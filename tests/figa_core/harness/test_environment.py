"""lm-eval's environment is found by its release, and one that is missing is named with the way to get it."""

import sys
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.harness.environment import PYTHON_VARIABLE, HarnessPython, examined, find_harness


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, beside no environment."""
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_environment_in_the_working_directory_is_found_with_what_it_has(elsewhere: Path) -> None:
    python = program(elsewhere / ".venv-harness" / "bin" / "python", "echo release 0.4.13 True")
    assert find_harness() == HarnessPython(python, "0.4.13", has_vllm=True)


def test_an_environment_that_is_missing_or_another_is_named_with_its_command(elsewhere: Path) -> None:
    with pytest.raises(EngineError, match=r"^lm-eval's environment, \.venv-harness, is missing; `make harn"):
        find_harness()
    program(elsewhere / ".venv-harness" / "bin" / "python", "echo lm_eval figa_core")
    with pytest.raises(EngineError, match=r"is missing \(it has no lm_eval and no figa_core\); `make harn"):
        find_harness()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo release 0.4.130 True", "it has lm-eval 0.4.130, and 0.4.13 is needed"),
        ("echo release 0.4.9 False", "it has lm-eval 0.4.9, and 0.4.13 is needed"),
        ("echo torch", "it has no torch"),
        ("exit 0", "it does not say which release"),
        ("exit 3", "not a working Python (exit code 3)"),
    ],
)
def test_another_release_or_an_incomplete_environment_is_not_used(
    text: str, reason: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = program(elsewhere / "mine", text)
    assert reason in str(examined(python))
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    with pytest.raises(EngineError, match=r"^FIGA_HARNESS_PYTHON = .*: cannot run lm-eval 0\.4\.13: "):
        find_harness()


def test_this_interpreter_has_no_lm_eval() -> None:
    assert "it has no lm_eval" in str(examined(Path(sys.executable)))
