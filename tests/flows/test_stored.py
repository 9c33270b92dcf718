"""A retry uses the run's stored configuration, and never pays for another run by accident."""

import asyncio
import shutil
import signal

import pytest

from figa_core.config import PipelineConfig
from figa_core.config.file import load_config
from figa_core.errors import InputError, InterruptedRunError
from figa_core.storage.runs import Findings, save_findings
from flows.progress import Lines
from flows.run.open_run import identify, open_run, visit_run
from flows.status import status_lines, workspace_status
from flows.stored import stored_config
from tasks.workspace import Workspace

from .conftest import KEY, KEY_VARIABLE, Project

TEMPLATE = "Correct this: {{ response }}"
QUIET = Lines(lambda line: None)


@pytest.fixture
def config(project: Project, monkeypatch: pytest.MonkeyPatch) -> PipelineConfig:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    prompts = project.directory / "prompts.jsonl"
    shutil.copyfile(project.settings["prompts"]["path"], prompts)
    template = project.directory / "mine.jinja"
    template.write_text(TEMPLATE)
    project.settings["prompts"]["path"] = str(prompts)
    project.settings["revision_prompt"] |= {
        "with_reference": str(template),
        "without_reference": str(template),
    }
    return load_config(project.config)


@pytest.fixture
def run_id(config: PipelineConfig) -> str:
    with open_run(config, "a flow run", QUIET, reaches="dataset built") as run:
        return run.run_id


def the_run_of(config: PipelineConfig) -> str:
    return identify(Workspace(config.workspace.path), config).run_id


def test_the_stored_configuration_is_the_same_run(config: PipelineConfig, run_id: str) -> None:
    assert stored_config(config.workspace.path, None) == config
    assert the_run_of(config) == run_id


def test_instructions_changed_by_another_version_do_not_make_it_another_run(
    config: PipelineConfig, run_id: str, project: Project
) -> None:
    (project.directory / "mine.jinja").write_text("Say it better: {{ response }}")
    assert the_run_of(config) != run_id
    again = stored_config(config.workspace.path, run_id)
    assert the_run_of(again) == run_id
    assert again.revision_prompt.with_reference is not None
    assert again.revision_prompt.with_reference.read_text() == TEMPLATE


def test_a_judges_instructions_stay_those_that_the_run_started_with(
    config: PipelineConfig, project: Project
) -> None:
    mine = project.directory / "pairwise.jinja"
    text = "{% for message in messages %}{{ message.content }}{% endfor %}{{ first }}{{ second }}"
    mine.write_text(text + '{"better": "A"}')
    judge = config.evaluation.judge.model_copy(update={"model": "sandbox-teacher", "template": mine})
    evaluation = config.evaluation.model_copy(update={"judge": judge})
    config = config.model_copy(update={"evaluation": evaluation})
    with open_run(config, "a flow run", QUIET, reaches="dataset built") as run:
        run_id = run.run_id
    assert stored_config(config.workspace.path, run_id) == config
    for change in (lambda: mine.write_text(text + '{"better": "B"}'), mine.unlink):
        change()
        again = stored_config(config.workspace.path, run_id)
        assert again.evaluation.judge.template is not None
        assert again.evaluation.judge.template.read_text() == text + '{"better": "A"}'


def test_changed_prompts_are_refused_before_anything_is_asked(config: PipelineConfig, run_id: str) -> None:
    with config.prompts.path.open("a") as file:
        file.write('{"prompt": "One more?"}\n')
    with pytest.raises(InputError, match=rf"run {run_id}.*now be another run.*figa run"):
        stored_config(config.workspace.path, run_id)


def test_a_visit_does_not_change_the_runs_recorded_end(config: PipelineConfig, run_id: str) -> None:
    with pytest.raises(RuntimeError), visit_run(config, "an evaluation", QUIET):
        raise RuntimeError("it fails")
    [run] = workspace_status(config.workspace.path)["runs"]
    assert (run["run_id"], run["status"]) == (run_id, "dataset built")


def test_the_status_of_a_run_has_its_alarms(config: PipelineConfig, run_id: str) -> None:
    database = Workspace(config.workspace.path).database
    save_findings(database, run_id, Findings(alarms={"FIGA": ("it drifts",), "SFT": ()}))
    found = workspace_status(config.workspace.path)
    assert found["runs"][0]["alarms"] == {"FIGA": ("it drifts",)}
    assert "  alarm: FIGA: it drifts" in list(status_lines(found))


def test_prompts_that_are_gone_before_the_retry_are_named(config: PipelineConfig, run_id: str) -> None:
    config.prompts.path.unlink()
    with pytest.raises(InputError, match=r"prompts\.jsonl"):
        stored_config(config.workspace.path, run_id)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("no such file"), "failed", "no such file"),
        (
            InterruptedRunError(signal.SIGTERM),
            "interrupted",
            "stopped by SIGTERM: the same command continues",
        ),
        (KeyboardInterrupt(), "interrupted", "stopped from outside: the same command continues"),
        (asyncio.CancelledError(), "interrupted", "stopped from outside: the same command continues"),
    ],
)
def test_a_run_that_was_stopped_did_not_fail(
    config: PipelineConfig, error: BaseException, status: str, message: str
) -> None:
    with pytest.raises(type(error)), open_run(config, "a flow run", QUIET):
        raise error
    [run] = workspace_status(config.workspace.path)["runs"]
    assert (run["status"], run["message"]) == (status, message)
