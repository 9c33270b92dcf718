"""A model that cannot be judged is one row; the other models are judged, and a retry asks for the rest."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from figa_core.config import MethodConfig
from figa_core.errors import (
    BudgetReachedError,
    ConfigError,
    FigaError,
    LLMError,
    OpenRevisionsError,
    RefusedRunError,
    TrainingError,
    UnjudgedAnswersError,
)
from figa_core.storage.scores import Source
from flows.comparison import judging
from flows.comparison.judging import Judging
from flows.progress import Lines
from flows.run.story import Story
from tasks.compare import Contender, Planned
from tasks.results import StageCounts
from tests.tasks.test_compare import config_of

Refusals = dict[str, FigaError]


def planned(name: str) -> Planned:
    job = SimpleNamespace(training_id=name, output=Path(name), model_dir=Path(name) / "model")
    return Planned(1e-5, 0, None, job)  # pyright: ignore[reportArgumentType]


CONTENDER = Contender(MethodConfig(objective="figa"), 8, (planned("first"), planned("second")))


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Refusals:
    """Generator id → the error of the judge."""
    errors: Refusals = {}

    async def rate(*arguments: Any) -> StageCounts:
        source = next(each for each in arguments if isinstance(each, Source))
        if (error := errors.get(str(source.values["generator"]))) is not None:
            raise error
        return StageCounts(3, 3)

    monkeypatch.setattr(judging, "rate_texts", rate)
    monkeypatch.setattr(judging, "trained_generator", lambda _w, _c, output: f"answers of {output}")
    monkeypatch.setattr(judging, "is_answered", lambda *_: True)
    monkeypatch.setattr(judging, "check_comparable", lambda *_: None)
    return errors


def of(lines: list[str]) -> Judging:
    rewards = SimpleNamespace(judge=None)
    run: Any = SimpleNamespace(run_id="run", workspace=None, rewards=rewards)
    return Judging(Story(Lines(lines.append)), run, config_of())


async def test_what_the_judge_leaves_open_of_one_model_does_not_end_the_comparison(
    refused: Refusals, lines: list[str]
) -> None:
    refused["answers of first"] = OpenRevisionsError("3 judgements are still open (3 server_error) of 3.")
    assert await of(lines).contender(CONTENDER) == (
        {"second": "answers of second"},
        {"first": "its model cannot be judged: 3 judgements are still open (3 server_error) of 3."},
    )
    assert "training first: its model cannot be judged: 3 judgements are still open" in "\n".join(lines)

    refused.clear()
    generators, failed = await of(lines).contender(CONTENDER)
    assert (list(generators), failed) == (["first", "second"], {})


@pytest.mark.parametrize("of_budget", [False, True], ids=["a wrong key", "a spent budget"])
async def test_a_judge_that_would_refuse_every_other_model_ends_the_comparison(
    refused: Refusals, lines: list[str], of_budget: bool
) -> None:
    if of_budget:
        error = OpenRevisionsError("2 judgements are still open (2 unasked) of 3: the budget is spent")
        error.__cause__ = BudgetReachedError("the budget is spent")
    else:
        error = RefusedRunError("http://judge: wrong key (bad_key).")
    refused["answers of first"] = error
    judging = of(lines)
    with pytest.raises(
        LLMError, match=r"(wrong key|budget is spent).*comparison stops here.*Retry"
    ) as raised:
        await judging.contender(CONTENDER)
    assert isinstance(raised.value, RefusedRunError) is not of_budget
    refused.clear()
    generators, failed = await judging.contender(CONTENDER)
    assert (list(generators), failed) == (["first", "second"], {})


async def test_a_model_without_usable_scores_is_known_as_one_that_asking_again_does_not_judge(
    refused: Refusals, lines: list[str]
) -> None:
    judging = of(lines)
    refused["answers of first"] = UnjudgedAnswersError("3 of 3 answers have no score.")
    refused["answers of second"] = OpenRevisionsError("3 judgements are still open.")
    _, failed = await judging.contender(CONTENDER)
    assert set(failed) == {"first", "second"}
    assert judging.unfit == {"first"}


async def test_a_damaged_model_is_one_row(
    refused: Refusals, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(model: Path) -> None:
        if model.parent.name == "second":
            raise TrainingError("second/model: damaged model: config.json has changed.")

    async def nothing(*_: Any) -> StageCounts:
        return StageCounts(0, 0)

    monkeypatch.setattr(judging, "is_answered", lambda *_: False)
    monkeypatch.setattr(judging, "check_exported", damaged)
    monkeypatch.setattr(Judging, "_generate", nothing)
    generators, failed = await of(lines).contender(CONTENDER)
    assert list(generators) == ["first"]
    assert failed == {"second": "its model cannot be judged: second/model: damaged model: config.json has "
                      "changed."}  # fmt: skip


async def test_an_error_of_the_settings_ends_the_comparison(refused: Refusals, lines: list[str]) -> None:
    refused["answers of first"] = ConfigError("no such template")
    with pytest.raises(ConfigError):
        await of(lines).contender(CONTENDER)
