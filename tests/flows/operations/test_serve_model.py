"""`figa serve-model` as a user calls it, up to the command that it becomes."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from figa_core.errors import EngineError
from figa_core.inference.vllm_python import PYTHON_VARIABLE
from figa_core.sandbox.build import Sandbox
from flows.cli import app
from tests.tasks.rating import with_two_labels

runner = CliRunner()


class BecameError(EngineError):
    """In the place of the process that the command becomes; another kind would pass for a bug."""


@pytest.fixture
def became(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv(PYTHON_VARIABLE, str(python))
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    found: list[Any] = []

    def become(path: Path, command: list[str], environment: dict[str, str]) -> None:
        found.extend((path, command, environment))
        raise BecameError

    monkeypatch.setattr(os, "execve", become)
    return found


def test_it_becomes_vllms_server_with_the_options_that_runs_need(became: list[Any], sandbox: Sandbox) -> None:
    arguments = ["serve-model", str(sandbox.base_model), "--port", "8123", "--max-length", "300"]
    done = runner.invoke(app, arguments)
    assert isinstance(done.exception, BecameError), done.output
    assert "at http://127.0.0.1:8123" in done.stdout
    _, command, environment = became
    text = " ".join(command)
    assert f"vllm_server --model {sandbox.base_model} --host 127.0.0.1 --port 8123" in text
    assert "--generation-config vllm" in text
    assert "--max-model-len 300" in text
    assert "pooling" not in text
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "7"  # the user's own value wins


def test_a_reward_model_is_served_for_its_logits(became: list[Any], sandbox: Sandbox) -> None:
    runner.invoke(app, ["serve-model", str(sandbox.reward_model)])
    assert "--runner pooling --convert classify" in " ".join(became[1])


def test_a_reward_model_with_two_labels_is_served_once_one_is_named(
    became: list[Any], sandbox: Sandbox, tmp_path: Path
) -> None:
    model = str(with_two_labels(sandbox.reward_model, tmp_path / "reward"))
    unnamed = runner.invoke(app, ["serve-model", model])
    assert isinstance(unnamed.exception, EngineError)
    assert "--label 1" in str(unnamed.exception)
    assert "has no label 'none-such'" in str(
        runner.invoke(app, ["serve-model", model, "--label", "none-such"]).exception
    )
    assert not became
    done = runner.invoke(app, ["serve-model", model, "--label", "1"])
    assert isinstance(done.exception, BecameError), done.output
    assert '[reward] engine = "server", label = 1 uses it' in done.stdout
    assert "--runner pooling --convert classify" in " ".join(became[1])


def test_a_server_has_room_for_adapters_if_it_is_asked_for(became: list[Any], sandbox: Sandbox) -> None:
    runner.invoke(app, ["serve-model", str(sandbox.base_model), "--lora-rank", "40"])
    _, command, environment = became
    assert "--enable-lora --max-lora-rank 64" in " ".join(command)
    assert environment["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "True"


@pytest.mark.parametrize(("reward", "option"), [(True, "--lora-rank"), (False, "--label")])
def test_options_of_the_other_kind_of_model_are_refused(
    became: list[Any], sandbox: Sandbox, reward: bool, option: str
) -> None:
    model = sandbox.reward_model if reward else sandbox.base_model
    done = runner.invoke(app, ["serve-model", str(model), option, "1"])
    assert f"{option} is not for this model" in str(done.exception)
    assert not became


def test_a_directory_without_a_model_is_named(became: list[Any], tmp_path: Path) -> None:
    done = runner.invoke(app, ["serve-model", str(tmp_path / "nothing")])
    assert isinstance(done.exception, EngineError)
    assert "nothing" in str(done.exception)
    assert not became
