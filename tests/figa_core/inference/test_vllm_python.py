"""An interpreter that cannot run vLLM is recognised before it is used."""

import sys
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.inference.vllm_python import PYTHON_VARIABLE, find_vllm_python, why_not


def _program(directory: Path, text: str) -> Path:
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_interpreter_without_vllm_is_refused_with_the_reason() -> None:
    assert why_not(Path(sys.executable)) == "it has no vllm"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo 'SyntaxError: not this one' >&2; exit 3", "not a working Python (SyntaxError: not this one)"),
        ("exit 3", "not a working Python (exit code 3)"),
        ("echo vllm pyarrow", "it has no vllm and no pyarrow"),
    ],
)
def test_a_program_that_is_not_such_an_interpreter_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    assert reason in (why_not(_program(tmp_path, text)) or "")


@pytest.mark.parametrize("name", ["nothing", "n" * 300, "a-directory", "a-text"])
def test_a_path_that_cannot_be_started_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "a-directory").mkdir()
    (tmp_path / "a-text").write_text("words")
    assert "cannot be started" in (why_not(tmp_path / name) or "")


def test_an_interpreter_that_has_everything_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = _program(tmp_path, "exit 0")
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    assert find_vllm_python() == python


def test_the_variable_is_named_with_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    with pytest.raises(EngineError, match=f"{PYTHON_VARIABLE} = .*: cannot run vLLM: it has no vllm"):
        find_vllm_python()


def test_an_environment_without_vllm_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv-vllm" / "bin").mkdir(parents=True)
    _program(tmp_path / ".venv-vllm" / "bin", "echo vllm")
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.chdir(tmp_path)
    assert find_vllm_python() is None
