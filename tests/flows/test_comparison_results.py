"""How a comparison ends: what a person sees, and when the command fails."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.errors import TrainingError
from figa_core.report.comparison import Metric
from figa_core.report.methods.comparison import estimate_methods
from figa_core.report.methods.data import CurvePoint, MethodOutcome, MethodsData, Outcome, TrainingOutcome
from flows.compare_methods import check_results, lines_of


def data_of(*trainings: TrainingOutcome, unable: str = "") -> MethodsData:
    method = MethodOutcome("FIGA", "figa", 8, trainings, unable=unable)
    base = {"a": 50.0, "b": 60.0}
    return MethodsData("test", "run-1", "now", Metric.VERIFIER, base, (method,), validation_prompts=3)


def ended(outcome: Outcome, reason: str = "") -> TrainingOutcome:
    scores = {"a": 70.0, "b": 75.0} if outcome is Outcome.JUDGED else {}
    validation = {"v": 1.0} if scores else {}
    return TrainingOutcome(1e-5, 0, "t", outcome, reason, validation=validation, judged=scores)


def test_a_training_that_diverged_and_a_method_that_cannot_run_are_results() -> None:
    check_results(data_of(ended(Outcome.JUDGED), ended(Outcome.DIVERGED, "the loss is nan")))
    check_results(data_of(unable="there are only 3 pairs"))


def test_a_training_that_failed_otherwise_ends_the_command_with_its_reason() -> None:
    with pytest.raises(
        TrainingError, match=r"1 of 2 trainings failed.* The first: no room\. .* the same command"
    ):
        check_results(data_of(ended(Outcome.JUDGED), ended(Outcome.FAILED, "no room.")))


def test_a_training_of_a_curve_that_failed_ends_the_command_too() -> None:
    data = data_of(whole := ended(Outcome.JUDGED))
    points = (CurvePoint(2, (ended(Outcome.FAILED, "no room."),)), CurvePoint(4, (whole,)))
    with pytest.raises(TrainingError, match=r"1 of 2 trainings failed.* The first: no room\."):
        check_results(replace(data, methods=(replace(data.methods[0], after_steps=points),)))


def test_the_end_shows_the_table_the_result_and_the_report(tmp_path: Path) -> None:
    data = data_of(ended(Outcome.JUDGED))
    lines = "\n".join(lines_of(data, estimate_methods(data), tmp_path / "methods.html"))
    assert "FIGA    8      1e-05  1" in lines
    assert "With 8 pairs, FIGA scores: the only judged method, 72.5 of 100; the base model has 55.0" in lines
    assert f"Report: {(tmp_path / 'methods.html').as_uri()}" in lines
