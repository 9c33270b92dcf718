"""What a run tells the trackers of its trainings."""

from pathlib import Path

import pytest

from figa_core.config import TrackingConfig, TrainingConfig
from figa_core.report.comparison import Metric
from figa_core.report.data import ModelScores, ReportData
from figa_core.report.methods.data import MethodOutcome, MethodsData, Outcome, TrainingOutcome
from figa_core.rl.job import RlJob
from figa_core.tracking import files
from figa_core.tracking.files import Sent
from figa_core.training.job import TrainingJob
from tasks.tracking import track_methods, track_results, tracked_run, tracking
from tasks.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "support")


def job_of(workspace: Workspace, **changes: object) -> TrainingJob:
    fields: dict[str, object] = {
        "shards": workspace.shards("shards-1"),
        "model": Path("/models/base"),
        "training": TrainingConfig(learning_rate=3e-5, pairs_per_step=4, max_steps=None),
        "training_id": "training-12345678",
        "output": workspace.training("training-12345678"),
        "steps": 7,
    }
    return TrainingJob.model_validate(fields | changes)


def rl_job_of(workspace: Workspace, **changes: object) -> RlJob:
    fields: dict[str, object] = {
        "method": "grpo",
        "training_id": "rl-training-87654321",
        "output": workspace.training("rl-training-87654321"),
        "model": Path("/models/base"),
        "reward_model": Path("/models/reward"),
        "reward_max_length": 512,
        "prompts": Path("/prompts.parquet"),
        "token_budget": 5000,
        "samples_per_prompt": 8,
        "samples_per_step": 16,
        "temperature": 1.0,
        "max_tokens": 64,
        "kl_weight": 0.04,
        "learning_rate": 1e-5,
        "seed": 0,
        "dtype": "float32",
        "tokens_per_batch": 4096,
        "steps": 7,
    }
    return RlJob.model_validate(fields | changes)


def test_a_training_is_named_after_its_workspace_and_objective_and_has_all_settings(
    workspace: Workspace,
) -> None:
    run = tracked_run(workspace, job_of(workspace, tracking=TrackingConfig(project="mine")))
    assert (run.name, run.project, run.group) == ("support: FIGA 12345678", "mine", "support")
    assert run.settings["training.learning_rate"] == 3e-5
    assert run.settings["training.max_steps"] == "not set"
    assert run.settings["training.schedule.kind"] == "constant"
    assert run.settings["alarms.unchanged_nll_rise"] == 0.5
    assert run.settings["loss.objective"] == "figa"
    assert run.settings["steps"] == 7


def test_without_trackers_a_training_leaves_no_trace_of_them(workspace: Workspace) -> None:
    with tracking(job_of(workspace)):
        pass
    assert not workspace.directory.exists()


def test_the_evaluation_the_settings_and_the_report_go_to_every_training_that_was_judged(
    workspace: Workspace,
) -> None:
    prompts = [f"prompt-{number}" for number in range(4)]
    base = ModelScores(
        "base", dict.fromkeys(prompts, 1.0), dict(zip(prompts, [0.4, 0.5, 0.5, 0.6], strict=True))
    )
    model_dir = workspace.trained_model("training-12345678")
    rewards = dict(zip(prompts, [2.0, 2.5, 3.0, 3.5], strict=True))
    main = ModelScores("FIGA", rewards, dict.fromkeys(prompts, 0.9), directory=str(model_dir))
    elsewhere = ModelScores("other", rewards, directory="/models/other")
    data = ReportData(
        "support",
        "run-1",
        "now",
        base=base,
        main=main,
        baselines=(elsewhere,),
        configuration={"reward": {"model": "r"}, "training": {"seed": "0"}},
    )
    report = workspace.report("run-1")
    report.parent.mkdir(parents=True)
    report.write_text("<html>")

    assert track_results(workspace, TrackingConfig(to=("tensorboard",)), data) == 1
    found = files.read_results(workspace.training("training-12345678"))
    assert found is not None
    assert found.artifacts == (str(report),)
    assert found.settings == {"reward.model": "r", "run_id": "run-1", "verdict": "better"}
    assert found.figures["evaluation/verifier"] == pytest.approx(90)
    assert found.figures["evaluation/verifier_base"] == pytest.approx(50)
    assert found.figures["evaluation/verifier_change"] == pytest.approx(40)
    assert found.figures["evaluation/reward"] == pytest.approx(2.75)
    low, high = found.figures["evaluation/reward_low"], found.figures["evaluation/reward_high"]
    assert low < 2.75 < high


def test_reinforcement_learning_is_tracked_as_its_method(workspace: Workspace) -> None:
    job = rl_job_of(workspace, tracking=TrackingConfig(project="mine"))
    run = tracked_run(workspace, job)
    assert (run.name, run.project, run.group) == ("support: GRPO 87654321", "mine", "support")
    assert run.settings["rl.learning_rate"] == 1e-5
    assert run.settings["rl.token_budget"] == 5000
    assert run.settings["reward_model"] == "/models/reward"
    assert "rl.tracking" not in run.settings
    model = {"name": "helpful", "model": "/models/reward", "max_length": 64}
    program = {"name": "right", "function": "m:f", "time_limit_s": 1, "memory_limit_mib": 64}
    several = rl_job_of(workspace).model_dump() | {"rewards": [model, program]}
    settings = tracked_run(workspace, RlJob.model_validate(several)).settings
    assert settings["rewards"] == "/models/reward, m:f"
    assert "reward_model" not in settings


def test_a_tracker_changes_nothing_in_what_decides_a_training(workspace: Workspace) -> None:
    tracked = rl_job_of(workspace, tracking=TrackingConfig(to=("wandb",)))
    assert tracked.settings_in_id() == rl_job_of(workspace).settings_in_id()


def test_the_scores_of_a_comparison_go_to_every_training_that_was_judged(workspace: Workspace) -> None:
    prompts = [f"prompt-{number}" for number in range(4)]
    scores = dict(zip(prompts, [80.0, 90.0, 90.0, 100.0], strict=True))
    judged = TrainingOutcome(
        1e-5, 0, "training-12345678", Outcome.JUDGED, validation={"other": 70.0}, judged=scores
    )
    failed = TrainingOutcome(1e-5, 1, "training-failed", Outcome.FAILED, reason="no memory")
    method = MethodOutcome("GRPO", "grpo", 96, (judged, failed))
    base = {**dict.fromkeys(prompts, 50.0), "not answered by the model": 0.0}
    data = MethodsData("support", "run-1", "now", Metric.VERIFIER, base, (method,), 1)
    report = workspace.methods_report("run-1")
    report.parent.mkdir(parents=True)
    report.write_text("<html>")

    assert track_methods(workspace, TrackingConfig(to=("tensorboard",)), data) == 1
    found = files.read_results(workspace.training("training-12345678"))
    assert found is not None
    assert found.artifacts == (str(report),)
    assert found.settings == {"run_id": "run-1", "method": "GRPO", "pairs": "96"}
    assert found.figures["evaluation/verifier"] == pytest.approx(90)
    assert found.figures["evaluation/verifier_base"] == pytest.approx(50)
    assert found.figures["evaluation/verifier_change"] == pytest.approx(40)
    assert files.read_results(workspace.training("training-failed")) is None


def test_a_tracker_that_has_everything_is_not_started_again(workspace: Workspace) -> None:
    job = job_of(workspace, tracking=TrackingConfig(to=("tensorboard",)))
    files.write_sent(job.output, "tensorboard", Sent(step=7, all_steps=True))
    with tracking(job):
        pass
    assert not workspace.logs.exists()
