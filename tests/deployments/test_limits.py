"""The command that creates the limits that runs share."""

import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.limits import Provider, main, slot_limits
from figa_core.errors import ConfigError
from figa_core.processes.children import child_environment
from flows.server.process import PrefectServer

PRESET = Path(__file__).parents[2] / "deployments/presets/openai.toml"
OPENAI = ["--name", "openai", "--requests-per-minute", "500", "--tokens-per-minute", "200000"]


def test_limits_are_created_once_and_updated_when_they_change(
    prefect_api: str, capsys: pytest.CaptureFixture[str]
):
    said = []
    for arguments in (OPENAI, OPENAI, [*OPENAI, "--runs", "2"]):
        assert main(arguments) == 0
        said.append([line.split(":")[0] for line in capsys.readouterr().out.splitlines()])
    assert said[0][:2] == ["created openai-requests", "created openai-tokens"]
    assert said[1][:2] == ["unchanged openai-requests", "unchanged openai-tokens"]
    assert said[2][:2] == ["updated openai-requests", "updated openai-tokens"]


def test_the_command_in_the_readme_takes_a_runs_config(prefect_server: PrefectServer):
    command = [sys.executable, "-m", "deployments.limits", "--config", str(PRESET)]
    environment = child_environment(PREFECT_API_URL=prefect_server.api_url)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "created" in done.stdout
    assert "shared_limit" in done.stdout


def test_without_a_server_the_error_names_the_variable_to_set(capsys: pytest.CaptureFixture[str]):
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert main(OPENAI) == 1
    assert "PREFECT_API_URL" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_named(capsys: pytest.CaptureFixture[str]):
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        assert main(OPENAI) == 1
    assert "127.0.0.1:9" in capsys.readouterr().err


def test_missing_options_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["--name", "openai"]) == 1
    assert "or --requests-per-minute, --tokens-per-minute" in capsys.readouterr().err
    assert main(["--name", "", *OPENAI[2:]]) == 1
    assert "give --config FILE, or --name" in capsys.readouterr().err


def test_limits_too_low_to_be_shared_are_refused():
    with pytest.raises(ConfigError, match="--runs"):
        slot_limits(Provider("low", 500, 10_000))
    with pytest.raises(ConfigError, match="at least 1"):
        slot_limits(Provider("none", 500, 200_000, runs=0))


def test_ten_million_tokens_a_minute_fit_into_slots():
    requests, tokens = slot_limits(Provider("high", 30_000, 10_000_000))
    assert tokens.limit < 2**31
    assert tokens.slot_decay_per_second
    assert requests.slot_decay_per_second
    assert tokens.slot_decay_per_second * 60 == pytest.approx(0.97 * 10_000_000, rel=0.01)
    assert requests.slot_decay_per_second * 60 / 1000 == pytest.approx(0.97 * 30_000, rel=0.01)
