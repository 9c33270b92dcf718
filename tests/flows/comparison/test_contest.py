"""When a sweep is settled enough for its rate to be chosen."""

import pytest

from figa_core.report.methods.data import MethodOutcome, Outcome, TrainingOutcome
from figa_core.report.methods.text import troubles
from flows.comparison.contest import rates_to_try_again


def _training(name: str, rate: float, outcome: Outcome) -> TrainingOutcome:
    return TrainingOutcome(rate, 0, name, outcome, "why", {"p": rate} if outcome is Outcome.JUDGED else {})


def test_a_rate_that_failed_is_open_and_one_that_diverged_is_not() -> None:
    sweep = [
        _training("c", 3e-5, Outcome.FAILED),
        _training("a", 1e-5, Outcome.FAILED),
        _training("b", 2e-5, Outcome.JUDGED),
        _training("d", 4e-5, Outcome.DIVERGED),
    ]
    assert rates_to_try_again(sweep, unfit=()) == (1e-5, 3e-5)


def test_a_model_that_the_judge_cannot_score_keeps_no_rate_open() -> None:
    sweep = [_training("a", 1e-5, Outcome.FAILED), _training("b", 2e-5, Outcome.JUDGED)]
    assert rates_to_try_again(sweep, unfit={"a"}) == ()


@pytest.mark.parametrize("open_rates", [(), (3e-5,)])
def test_the_table_says_that_a_choice_is_not_settled(open_rates: tuple[float, ...]) -> None:
    trainings = (_training("b", 2e-5, Outcome.JUDGED), _training("c", 3e-5, Outcome.FAILED))
    text = troubles(MethodOutcome("figa", "figa", 8, trainings, open_rates=open_rates))
    assert ("the chosen rate may change: rate 3e-05 is not judged yet" in text) is bool(open_rates)
