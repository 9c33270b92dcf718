"""TRL's environments are found by their release, and one that is missing is named with the way to get it."""

import sys
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.rl.environments import OF_PPO, OF_TRL, find_python, installed_release, why_missing, why_not


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, beside no environment."""
    for environment in (OF_TRL, OF_PPO):
        monkeypatch.delenv(environment.variable, raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_method_has_the_release_that_it_needs(elsewhere: Path) -> None:
    trl = program(elsewhere / ".venv-trl" / "bin" / "python", "echo release 1.16.2")
    ppo = program(elsewhere / ".venv-ppo" / "bin" / "python", "echo release 1.8.0")
    assert find_python(OF_TRL) == trl
    assert find_python(OF_PPO) == ppo
    assert why_missing(OF_TRL) == why_missing(OF_PPO) == ""
    (elsewhere / ".venv-trl" / "lib" / "python3.11" / "site-packages" / "trl-1.16.2.dist-info").mkdir(
        parents=True
    )
    assert (installed_release(OF_TRL), installed_release(OF_PPO)) == ("1.16.2", None)


def test_an_environment_that_is_missing_is_named_with_its_command(elsewhere: Path) -> None:
    assert find_python(OF_TRL) is None
    assert why_missing(OF_TRL) == "TRL's environment is missing (TRL 1.16, .venv-trl); `make rl` makes it"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo release 1.160.0", "it has TRL 1.160.0, and 1.16 is needed"),
        ("echo release 1.8.0", "it has TRL 1.8.0, and 1.16 is needed"),
        ("echo trl figa_core", "it has no trl and no figa_core"),
        ("echo pyarrow", "it has no pyarrow"),
        ("exit 0", "it does not say which release"),
        ("exit 3", "not a working Python (exit code 3)"),
    ],
)
def test_another_release_or_an_incomplete_environment_is_not_used(
    text: str, reason: str, elsewhere: Path
) -> None:
    python = program(elsewhere / ".venv-trl" / "bin" / "python", text)
    assert reason in (why_not(python, OF_TRL.release) or "")
    assert find_python(OF_TRL) is None


def test_a_variable_names_another_interpreter(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = program(elsewhere / "mine", "echo release 1.8.3")
    monkeypatch.setenv(OF_PPO.variable, str(python))
    assert find_python(OF_PPO) == python
    monkeypatch.setenv(OF_TRL.variable, str(python))
    with pytest.raises(EngineError, match=r"FIGA_TRL_PYTHON = .*: cannot run TRL 1.16: it has TRL 1.8.3"):
        find_python(OF_TRL)
    assert "FIGA_TRL_PYTHON" in why_missing(OF_TRL)


def test_this_interpreter_has_no_trl() -> None:
    assert "it has no trl" in (why_not(Path(sys.executable), OF_TRL.release) or "")
