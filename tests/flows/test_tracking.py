"""A whole run, followed by a tracker: figures while it trains, evaluation and report at its end."""

import pytest

from figa_core.tracking import files
from tests.figa_core.tracking.test_to_tensorboard import read_back

from .conftest import Project

pytest.importorskip("tensorboardX")


@pytest.mark.slow
def test_a_run_sends_its_training_its_evaluation_and_its_report(served_project: Project) -> None:
    project = served_project
    project.settings["tracking"] = {"to": ["tensorboard"], "project": "tests"}
    done = project.run()
    assert done.returncode in (0, 3), done.stdout
    [training] = (project.workspace / "trainings").glob("training-*/")
    assert files.is_sent(training, "tensorboard")
    figures, texts = read_back(project.workspace / "tracking" / "tensorboard")
    last = figures[max(figures)]
    assert {"training/loss", "result/steps", "evaluation/reward", "evaluation/reward_change"} <= last.keys()
    assert "| prompts.held_out_share | 0.3 |" in texts["settings of the run/text_summary"]
    [report] = (project.workspace / "reports").glob("run-*.html")
    assert str(report) in texts[f"{report.name}/text_summary"]
    again = project.run()
    assert again.returncode == done.returncode, again.stdout
    assert read_back(project.workspace / "tracking" / "tensorboard")[0] == figures
