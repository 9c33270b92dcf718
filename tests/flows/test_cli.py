"""The command line where it needs no run: help, unusable input, an empty workspace."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from figa_core.errors import FigaError
from figa_core.sandbox.teacher_process import TeacherProcess
from flows.cli import app
from tasks.workspace import Workspace

runner = CliRunner()


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom flows.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).stdout)\n"
        "heavy = {'torch', 'transformers', 'prefect', 'duckdb', 'openai', 'matplotlib', 'pyarrow'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(command in output for command in ("demo", "run", "status", "report"))
    assert "HEAVY []" in output


def test_a_directory_without_a_workspace_is_named(tmp_path: Path) -> None:
    for command in ("status", "report"):
        result = runner.invoke(app, [command, "--workspace", str(tmp_path)])
        assert isinstance(result.exception, FigaError)
        assert str(tmp_path) in str(result.exception)
        assert "figa demo" in str(result.exception)


def test_a_new_workspace_has_no_runs(tmp_path: Path) -> None:
    Workspace(tmp_path).store.create()
    assert "no run yet" in runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout
    found = json.loads(runner.invoke(app, ["status", "-w", str(tmp_path), "--json"]).stdout)
    assert found["runs"] == []
    assert found["held_by"] is None


def _fails(project: Any, *, naming: str, calls: TeacherProcess) -> str:
    """The run ends with code 1 and one message without a traceback, and nothing was asked of the teacher."""
    result = project.run()
    assert result.returncode == 1, result.stdout
    assert naming in result.stdout
    assert "Traceback" not in result.stdout
    assert calls.requests() == 0
    return result.stdout


def test_an_unknown_setting_is_named_with_the_one_that_was_meant(
    project: Any, teacher: TeacherProcess
) -> None:
    project.settings["training"]["learning_rat"] = 1.0
    output = _fails(project, naming="training.learning_rat", calls=teacher)
    assert "did you mean 'learning_rate'?" in output
    assert not project.workspace.exists()


def test_a_missing_model_directory_is_named_before_anything_starts(
    project: Any, teacher: TeacherProcess
) -> None:
    project.settings["generation"]["model"] = str(project.directory / "no-model")
    _fails(project, naming="no-model", calls=teacher)
    assert not project.workspace.exists()


def test_a_missing_key_is_named_before_anything_starts(project: Any, teacher: TeacherProcess) -> None:
    del project.environment["FIGA_TEST_KEY"]
    _fails(project, naming="FIGA_TEST_KEY", calls=teacher)
    assert not project.workspace.exists()


def test_settings_that_do_not_fit_the_model_are_named(project: Any, teacher: TeacherProcess) -> None:
    project.settings["generation"]["max_tokens"] = 4000
    output = _fails(project, naming="prompts.max_prompt_tokens + generation.max_tokens", calls=teacher)
    assert "max_position_embeddings" in output


def test_a_verifier_that_cannot_be_imported_is_named(project: Any, teacher: TeacherProcess) -> None:
    project.settings["evaluation"]["verifier"] = "no_such_module:verify"
    _fails(project, naming="evaluation.verifier", calls=teacher)


def test_a_missing_prompts_file_is_named(project: Any, teacher: TeacherProcess) -> None:
    project.settings["prompts"]["path"] = str(project.directory / "no-prompts.jsonl")
    _fails(project, naming="no-prompts.jsonl", calls=teacher)


def test_a_workspace_that_cannot_be_made_is_named(project: Any, teacher: TeacherProcess) -> None:
    blocked = project.directory / "a-file"
    blocked.write_text("in the way")
    project.settings["workspace"]["path"] = str(blocked / "workspace")
    _fails(project, naming="a-file", calls=teacher)


@pytest.mark.parametrize("engine", ["vllm"])
def test_an_engine_that_is_not_there_is_named(project: Any, teacher: TeacherProcess, engine: str) -> None:
    project.settings["generation"]["engine"] = engine  # the project's directory holds no .venv-vllm
    output = _fails(project, naming="no environment with vLLM", calls=teacher)
    assert 'engine = "transformers"' in output
