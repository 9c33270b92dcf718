"""Real ranks see an alarm together, go back, and export the model of the last good step."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from figa_core.errors import DivergedTrainingError
from figa_core.training.alarms import Alarm
from figa_core.training.checkpoints import read_manifest
from figa_core.training.going_back import metrics_of_all_steps
from figa_core.training.launch import run_training
from figa_core.training.metrics import StepMetrics, read_metrics
from tests.figa_core.training.jobs import MakeJob, changed

pytestmark = [pytest.mark.distributed, pytest.mark.slow, pytest.mark.timeout(900)]

DRIFTS: dict[str, object] = {"gamma": 0.0, "learning_rate": 1e-2}


@pytest.mark.parametrize("ranks", [{"zero_stage": 2}, {"zero_stage": 3}], ids=["zero2", "zero3"])
def test_two_ranks_end_at_the_alarm_and_return_the_last_good_model(
    ranks: dict[str, object], make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(processes=2, **DRIFTS, **ranks)
    alarms, steps = list[Alarm](), list[StepMetrics]()
    done = run_training(job, on_step=steps.append, on_alarm=alarms.append, log_path=tmp_path / "log")
    alarm = done.ended_by
    assert alarm is not None
    assert tuple(alarms) == done.alarms
    assert [metrics.step for metrics in steps] == list(range(1, alarm.step + 1)), "each once"
    assert (done.steps, done.planned_steps) == (alarm.good_step, job.steps)
    assert 0 < alarm.good_step < alarm.step
    assert "alarm: after step" in (tmp_path / "log").read_text()
    assert [m.step for m in read_metrics(job.metrics_path)] == list(range(1, done.steps + 1))
    assert metrics_of_all_steps(job.output)[-1].step == alarm.step
    assert run_training(job, on_alarm=alarms.append, log_path=tmp_path / "log") == done
    assert len(alarms) == len(done.alarms), "no second event"

    planned = changed(job, output=tmp_path / "planned", steps=done.steps, stops=())
    run_training(planned, log_path=tmp_path / "planned.log")
    expected = load_file(planned.model_dir / "model.safetensors")
    found = load_file(job.model_dir / "model.safetensors")
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) <= 1e-6


def test_a_training_that_never_was_good_exports_nothing_and_is_not_repeated(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(gamma=0.0, learning_rate=3e-1, stops=("unchanged_nll",))
    with pytest.raises(DivergedTrainingError, match=r"the base model is the better one"):
        run_training(job, log_path=tmp_path / "log")
    assert read_manifest(job.output) is None
    assert not job.model_dir.exists() or not list(job.model_dir.glob("*.safetensors"))
    size = (tmp_path / "log").stat().st_size
    with pytest.raises(DivergedTrainingError, match=r"Remove .* to train again"):
        run_training(job, log_path=tmp_path / "log")
    assert (tmp_path / "log").stat().st_size == size, "no rank was started"
