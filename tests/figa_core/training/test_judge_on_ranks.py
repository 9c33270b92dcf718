"""Real ranks are judged by held-out pairs together, survive being killed, and export the best model."""

import os
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from figa_core.config import HeldOutConfig, OptimizerConfig, ScheduleConfig
from figa_core.errors import TrainingError
from figa_core.training.checkpoints import read_manifest
from figa_core.training.held_out import HELD_OUT_LOSS, looks_in
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from tasks.report import curve_of
from tests.figa_core.training.jobs import MakeJob, changed, launcher_of

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]

JUDGED: dict[str, object] = {
    "objective": "sft_revised",
    "learning_rate": 1e-2,
    "steps": 30,
    "checkpoint_steps": 4,
    "stops": (),
    "schedule": ScheduleConfig(kind="cosine", warmup_share=0.1),
    "optimizer": OptimizerConfig(weight_decay=0.1, gradient_norm_max=1.0),
    "held_out": HeldOutConfig(share=0.25, every_steps=3, result="best", patience=2),
}


@pytest.mark.parametrize("zero_stage", [2, 3])
def test_a_killed_training_resumes_and_exports_the_best_model(
    zero_stage: int, make_job: MakeJob, tmp_path: Path
) -> None:
    job = changed(make_job(processes=2, zero_stage=zero_stage), **JUDGED)
    steps = list[StepMetrics]()

    def kill_midway(metrics: StepMetrics) -> None:
        if metrics.step == 10:
            os.kill(launcher_of(job).pid, signal.SIGKILL)

    with pytest.raises(TrainingError):
        run_training(job, on_step=kill_midway, log_path=tmp_path / "log")
    done = run_training(job, on_step=steps.append, log_path=tmp_path / "log")
    found = looks_in(steps)
    best = min(found, key=lambda look: look.loss)
    assert done.held_out is not None
    assert (done.held_out.best_step, done.held_out.best_loss) == (best.step, best.loss)
    assert (done.steps, done.planned_steps) == (best.step, 30)
    assert best.step < steps[-1].step < 30, "patience ended it, and it went back"
    assert done.held_out.patience_ended
    assert [step.step for step in read_metrics(job.metrics_path)] == list(range(1, best.step + 1))
    assert run_training(job, log_path=tmp_path / "log") == done == read_manifest(job.output)

    curve = curve_of(job.output, job.objective)
    assert curve.series["learning rate"] == tuple(job.learning_rate_at(step) for step in curve.steps)
    drawn = [loss for loss in curve.series[HELD_OUT_LOSS.title] if loss is not None]
    assert drawn == [look.loss for look in found]
    assert curve.facts[HELD_OUT_LOSS.title].startswith(f"lowest after step {best.step}: ")
    assert curve.facts["steps"] == f"{best.step} of 30"

    once = changed(job, output=tmp_path / "once", processes=1)
    judged = run_training(once, log_path=tmp_path / "once.log").held_out
    assert judged is not None
    assert (judged.best_step, judged.looks) == (best.step, len(found))
    assert judged.best_loss == pytest.approx(best.loss, abs=1e-4)
    expected, weights = (load_file(each.model_dir / "model.safetensors") for each in (once, job))
    assert max(float((weights[name] - expected[name]).abs().max()) for name in expected) <= 1e-4
