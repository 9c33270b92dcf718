"""When a sweep is settled enough for its rate to be chosen."""

from types import SimpleNamespace
from typing import Any

import pytest

from figa_core.config import EvaluationConfig
from figa_core.report.comparison import Metric
from figa_core.report.methods.data import MethodOutcome, Outcome, TrainingOutcome
from figa_core.report.methods.text import troubles
from flows.comparison.contest import Contest, rates_to_try_again
from flows.progress import Lines
from flows.run.story import Story
from tasks.compare import Contender
from tests.flows.comparison.test_judging import CONTENDER
from tests.tasks.test_compare import config_of


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


@pytest.mark.parametrize("verifier", [None, "m:f"])
def test_the_result_says_if_its_judge_is_the_reward_that_chose_the_pairs(
    monkeypatch: pytest.MonkeyPatch, verifier: str | None
) -> None:
    monkeypatch.setattr("flows.comparison.contest.types_of", lambda *_: {})
    contest = Contest.__new__(Contest)
    evaluation = EvaluationConfig(verifier=verifier)
    contest._config = config_of().model_copy(update={"evaluation": evaluation})
    contest._run = SimpleNamespace(run_id="r", workspace=SimpleNamespace(database=None))  # pyright: ignore[reportAttributeAccessIssue]
    contest._judging = SimpleNamespace(metric=Metric.REWARD)  # pyright: ignore[reportAttributeAccessIssue]
    contest._base, contest._validation = {}, frozenset()
    said = contest.data([]).dependent_judge
    assert said.startswith("The models are judged by the reward, which also chose") is (verifier is None)


@pytest.mark.parametrize("open_rates", [(), (3e-5,)])
def test_the_table_says_that_a_choice_is_not_settled(open_rates: tuple[float, ...]) -> None:
    trainings = (_training("b", 2e-5, Outcome.JUDGED), _training("c", 3e-5, Outcome.FAILED))
    text = troubles(MethodOutcome("figa", "figa", 8, trainings, open_rates=open_rates))
    assert ("the chosen rate may change: rate 3e-05 is not judged yet" in text) is bool(open_rates)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.DIVERGED, Outcome.JUDGED])
async def test_other_seeds_are_trained_once_every_rate_has_been_tried(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome
) -> None:
    """The trainings and the judge are not of interest here."""
    first = (_training("a", 1e-5, Outcome.JUDGED), _training("b", 2e-5, outcome))
    rates, lines = list[float | None](), list[str]()

    def after_sweep(self: Contender, _: Any, rate: float | None) -> Contender:
        rates.append(rate)
        return self

    async def ended(_: Contest, contender: Contender) -> tuple[TrainingOutcome, ...]:
        return first if not rates else (_training("c", rates[-1] or 0.0, Outcome.JUDGED),)

    monkeypatch.setattr(Contender, "sweep", lambda self, _: self)
    monkeypatch.setattr(Contender, "after_sweep", after_sweep)
    monkeypatch.setattr(Contest, "_ended", ended)
    monkeypatch.setattr(Contest, "_kept", lambda *arguments: arguments[2])
    contest = Contest.__new__(Contest)
    contest._story, contest._config = Story(Lines(lines.append)), config_of()
    contest._judging = SimpleNamespace(unfit=set())  # pyright: ignore[reportAttributeAccessIssue]
    found, open_rates = await contest._trainings(CONTENDER)
    waits = outcome is Outcome.FAILED
    assert [each.training_id for each in found] == (["a", "b"] if waits else ["a", "b", "c"])
    assert open_rates == ((2e-5,) if waits else ())
    assert ("other seeds wait until rate 2e-05 is judged" in "\n".join(lines)) is waits
