"""The command line without a run: help, unusable input, an empty workspace."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from figa_core.errors import FigaError
from figa_core.processes.lease import workspace_lease
from figa_core.storage import migrations
from figa_core.storage.runs import save_run
from flows.cli import app
from tasks.workspace import Workspace

from .conftest import KEY_VARIABLE, NOBODY, Project

runner = CliRunner()
COMMANDS = ("status", "report", "retry-revisions")


def error_of(*arguments: str) -> str:
    """The message of the error that ends a command in this process."""
    result = runner.invoke(app, arguments)
    assert isinstance(result.exception, FigaError), result.output
    return str(result.exception)


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom flows.cli import app\n"
        "print(CliRunner().invoke(app, ['--help']).stdout)\n"
        "heavy = {'torch', 'transformers', 'prefect', 'duckdb', 'openai', 'matplotlib', 'pyarrow'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(
        command in output
        for command in ("demo", "run", "compare", "plan", "retry-revisions", "status", "report")
    )
    assert "HEAVY []" in output


def test_the_version_is_that_of_the_package() -> None:
    assert runner.invoke(app, ["--version"]).stdout == f"figa {version('figa')}\n"


def test_a_directory_without_a_workspace_is_named(tmp_path: Path) -> None:
    for command in COMMANDS:
        error = error_of(command, "--workspace", str(tmp_path))
        assert str(tmp_path) in error
        assert "figa demo" in error


def test_a_new_workspace_has_no_runs(tmp_path: Path) -> None:
    Workspace(tmp_path).database.create()
    assert "no run yet" in runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout
    found = json.loads(runner.invoke(app, ["status", "-w", str(tmp_path), "--json"]).stdout)
    assert found["runs"] == []
    assert found["held_by"] is None


def test_a_workspace_of_an_older_version_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(migrations, "MIGRATIONS", migrations.MIGRATIONS[:1])
        older.setattr(migrations, "SCHEMA_VERSION", 1)
        Workspace(tmp_path).database.create()
    save_run(Workspace(tmp_path).database, "run-1", "old", {}, None)
    assert "old: interrupted" in runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout


def test_a_run_whose_process_is_gone_is_shown_as_interrupted_and_a_live_one_as_running(
    tmp_path: Path,
) -> None:
    Workspace(tmp_path).database.create()
    save_run(Workspace(tmp_path).database, "run-1", "night", {}, None)
    with workspace_lease(tmp_path, owner="night"):
        shown = runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout
        assert "held by night, process" in shown
        assert "night: running" in shown
    shown = runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout
    assert "night: interrupted" in shown
    assert "its process was killed: the same command continues" in shown


def test_a_damaged_database_is_named_by_every_command(tmp_path: Path) -> None:
    (tmp_path / "figa.duckdb").write_bytes(b"garbage" * 1000)
    for command in COMMANDS:
        assert "figa.duckdb: the database cannot be read" in error_of(command, "--workspace", str(tmp_path))


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("path", ["~nobody-here/ws", "n" * 300, "circle", "a-file", "a-file/ws"])
def test_an_invalid_workspace_path_is_named(
    command: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "a-file").write_text("")
    assert path[:100] in error_of(command, "--workspace", path)


def test_an_error_is_one_message_without_a_traceback_and_code_1(project: Project) -> None:
    project.settings["training"]["learning_rat"] = 1.0
    result = project.run()
    assert result.returncode == 1
    assert "training.learning_rat: unknown setting; did you mean 'learning_rate'?" in result.stdout
    assert "Traceback" not in result.stdout
    assert not project.workspace.exists()


def test_a_configured_prefect_api_that_does_not_answer_is_named(project: Project) -> None:
    result = project.run()
    assert result.returncode == 1
    assert result.stdout.startswith("checking the settings, the models and the prompts\n")
    assert f"PREFECT_API_URL = {NOBODY}/api: nothing answers there" in result.stdout
    assert "Traceback" not in result.stdout


@pytest.fixture
def refusal(project: Project, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Runs the project in this process and returns why it was refused; nothing may have been started."""
    for name, value in project.environment.items():
        monkeypatch.setenv(name, value)

    def run() -> str:
        error = error_of("run", "--config", str(project.config))
        assert not project.workspace.exists()
        return error

    return run


def test_a_missing_key_is_named(
    project: Project, refusal: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEY_VARIABLE)
    assert f"{KEY_VARIABLE} is empty" in refusal()


@pytest.mark.parametrize(
    ("section", "field", "value", "named"),
    [
        ("generation", "model", "no-model", "no-model: no such model directory"),
        ("generation", "max_tokens", 4000, "prompts.max_prompt_tokens + generation.max_tokens is 4200"),
        ("weighting", "max_length", 4000, "weighting.max_length is 4000"),
        ("reward", "max_length", 4000, "reward.max_length is 4000"),
        ("training", "tokens_per_batch", 128, "training.tokens_per_batch = 128"),
        ("evaluation", "verifier", "no_such_module:verify", "evaluation.verifier = 'no_such_module:verify'"),
        ("evaluation", "baselines", ["figa"], "figa is already the main objective"),
        ("prompts", "path", "no-prompts.jsonl", "no-prompts.jsonl: no such file of prompts"),
    ],
)
def test_settings_that_cannot_work_are_named(
    project: Project, refusal: Callable[[], str], section: str, field: str, value: object, named: str
) -> None:
    project.settings[section][field] = value
    assert named in refusal()


def test_an_engine_that_is_not_installed_is_named(
    project: Project, refusal: Callable[[], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project.settings["generation"]["engine"] = "vllm"
    monkeypatch.setenv("FIGA_VLLM_PYTHON", str(tmp_path / "no-python"))
    assert "FIGA_VLLM_PYTHON" in refusal()


def test_a_workspace_that_cannot_be_created_is_named(project: Project, refusal: Callable[[], str]) -> None:
    blocked = project.directory / "a-file"
    blocked.write_text("in the way")
    project.settings["workspace"]["path"] = str(blocked / "workspace")
    assert str(blocked / "workspace") in refusal()


def test_a_plan_needs_no_key_and_shows_an_upper_bound(project: Project) -> None:
    del project.environment[KEY_VARIABLE]
    project.settings["spending"] = {"budget_usd": 0.5}
    result = runner.invoke(app, ["plan", "--config", str(project.config)])
    assert result.exit_code == 0, result.output
    assert re.search(r"at most \d\d calls to sandbox-teacher", result.output)
    assert re.search(r"at most about \$0\.\d\d; never more than \$0\.\d\d", result.output)
    assert "budget of $0.50" in result.output
    assert "at the configured limits" in result.output
    assert not project.workspace.exists()


@pytest.mark.parametrize(("gigabytes", "verdict"), [("80", "It fits"), ("0.1", "It does not fit")])
def test_a_plan_shows_the_memory_of_the_training(project: Project, gigabytes: str, verdict: str) -> None:
    result = runner.invoke(app, ["plan", "--config", str(project.config), "--device-gb", gigabytes])
    assert result.exit_code == 0, result.output
    output = " ".join(result.output.split())
    assert "training: " in output
    assert "optimizer" in output
    assert f"{verdict} into a GPU of {gigabytes} GB" in output


def test_a_budget_without_a_price_is_refused(project: Project, refusal: Callable[[], str]) -> None:
    project.settings["spending"] = {"budget_usd": 5}
    del project.settings['spending.prices."sandbox-teacher"']
    assert 'add [spending.prices."sandbox-teacher"]' in refusal()


def test_a_prompt_template_that_cannot_work_is_refused(project: Project, refusal: Callable[[], str]) -> None:
    (project.directory / "own.jinja").write_text("{{ response }} {{ answr }}", encoding="utf-8")
    project.settings["revision_prompt"] = {"without_reference": "own.jinja"}
    assert "own.jinja: the prompt template uses answr" in refusal()


@pytest.mark.parametrize(
    "arguments", [["status", "-w", "x" * 600], ["plan", "-c", "x" * 600], ["report", "-w", "x/" * 300]]
)
def test_a_very_long_path_is_shortened_in_messages(arguments: list[str]) -> None:
    error = error_of(*arguments)
    assert "xxx … xxx" in error.replace("/", "x")
    assert len(error) < 500


def test_the_status_names_the_comparison_of_methods_once_there_is_one(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    workspace.database.create()
    save_run(workspace.database, "run-1", "night", {}, None)
    assert "comparison" not in runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout
    page = workspace.methods_report("run-1")
    page.parent.mkdir()
    page.write_text("<html>")
    shown = runner.invoke(app, ["status", "-w", str(tmp_path)]).stdout
    assert f"comparison of methods: {page.resolve()}" in shown
