"""A baseline that has no model does not cost the run its own."""

import pytest

from figa_core.sandbox.teacher_process import TeacherProcess

from .conftest import Project

pytestmark = [pytest.mark.distributed, pytest.mark.slow]


def test_a_baseline_that_diverges_is_left_out_with_a_warning_and_not_tried_again(
    served_project: Project, teacher: TeacherProcess
) -> None:
    served_project.settings["loss"] = {"preference_beta": 1e30}
    served_project.settings.setdefault("evaluation", {})["baselines"] = ["dpo"]

    first = served_project.run()
    assert first.returncode == 0, first.stdout
    assert "DPO is not compared: " in first.stdout
    assert "gradient" in first.stdout
    assert {row["label"] for row in served_project.status()["evaluations"]} == {"base", "FIGA"}
    calls = teacher.requests()

    second = served_project.run()
    assert second.returncode == 0, second.stdout
    assert "DPO is not compared: " in second.stdout
    assert "train DPO" not in second.stdout
    assert teacher.requests() == calls
