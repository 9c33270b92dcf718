"""A training by real ranks, followed by TensorBoard."""

from pathlib import Path

import pytest

from figa_core.config import TrackingConfig
from figa_core.training.launch import run_training
from tasks.tracking import tracking
from tests.figa_core.tracking.test_to_tensorboard import read_back
from tests.figa_core.tracking.trainings import figures_in_metrics
from tests.figa_core.training.jobs import MakeJob

pytest.importorskip("tensorboardX")


@pytest.mark.distributed
@pytest.mark.slow
def test_what_a_tracker_has_of_a_training_is_what_its_ranks_wrote(make_job: MakeJob, tmp_path: Path) -> None:
    output = tmp_path / "workspace" / "trainings" / "training-1"
    job = make_job(steps=4, output=output, tracking=TrackingConfig(to=("tensorboard",)))
    with tracking(job):
        done = run_training(job, log_path=tmp_path / "log")
    figures, texts = read_back(tmp_path / "workspace" / "tracking" / "tensorboard")
    in_metrics = figures_in_metrics(output)
    assert list(figures) == list(in_metrics) == [1, 2, 3, 4]
    for step, expected in in_metrics.items():
        found = {name: value for name, value in figures[step].items() if name.startswith("training/")}
        assert found == pytest.approx(expected, rel=1e-6)
    assert figures[4]["result/wall_seconds"] == pytest.approx(done.wall_seconds)
    assert "| training.learning_rate | 0.001 |" in texts["settings/text_summary"]
