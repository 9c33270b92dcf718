"""The score stage leaves out single texts that cannot be scored, and ends if there are many."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core import ids
from figa_core.config import RewardConfig
from figa_core.errors import EngineError
from figa_core.inference import engine as registry
from figa_core.inference.engine import Engine, Scoring, register_engine
from figa_core.inference.engines import Engines
from figa_core.ports import ScoringRequest
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.sandbox.build import Sandbox
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import count_unscored, responses_of
from tasks.results import StageCounts
from tasks.score import score, scorer_id
from tasks.workspace import Workspace

from .conftest import NO_SYSTEM, RUN, with_template

GENERATOR = "generator"
RESPONSES = responses_of(RUN, GENERATOR, Split.TRAIN)


def overflow(weights: dict[str, torch.Tensor]) -> None:
    """Finite weights with rewards that are not finite, as some texts give in fp16."""
    weights["model.norm.weight"].fill_(3e38)
    weights["score.weight"].fill_(10.0)


class Stage:
    """The stage on texts of this test, with a reward model that refuses system messages."""

    def __init__(self, workspace: Workspace, engines: Engines, model: Path) -> None:
        self.workspace, self.engines = workspace, engines
        self.config = RewardConfig(model=model, engine="transformers", max_length=64)

    def change_weights(self, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
        path = self.config.model / "model.safetensors"
        weights = load_file(path)
        change(weights)
        save_file(weights, path, metadata={"format": "pt"})

    def add_texts(self, good: int, refused: int = 0) -> None:
        """Prompts with a response each; those with a system message come after the others."""
        prompts = []
        for i in range(good + refused):
            system = (Message("system", "Be brief."),) if i >= good else ()
            messages = (*system, Message("user", f"question {i}"))
            prompts.append(Prompt(ids.prompt_id(messages), messages, Split.TRAIN))
        save_prompts(self.workspace.database, RUN, prompts)
        responses = [
            Response(f"response-{i}", p.prompt_id, 0, f"answer {i}", (5,), FinishReason.STOP)
            for i, p in enumerate(prompts)
        ]
        save_responses(self.workspace.database, GENERATOR, responses)

    @property
    def scorer(self) -> str:
        return scorer_id(self.workspace, self.config)

    def score(self) -> StageCounts:
        return score.fn(self.workspace, self.config, RESPONSES, engines=self.engines)


@pytest.fixture
def stage(workspace: Workspace, engines: Engines, sandbox: Sandbox, tmp_path: Path) -> Stage:
    model = with_template(sandbox.reward_model, NO_SYSTEM, tmp_path / "reward")
    return Stage(workspace, engines, model)


def test_a_text_that_the_template_refuses_is_stored_with_the_reason_and_not_tried_again(stage: Stage) -> None:
    stage.add_texts(good=11, refused=1)
    result = stage.score()
    assert (result.n_in, result.n_out) == (12, 11)
    assert result.reasons == {"the chat template refuses these messages: no system role": 1}
    found = stage.workspace.database.fetch("SELECT subject_id, scorer_id FROM score_failures")
    assert found == [("response-11", stage.scorer)]
    assert stage.score() == StageCounts(0, 0)


def test_many_refused_texts_end_the_stage_and_are_tried_again(stage: Stage) -> None:
    stage.add_texts(good=12, refused=3)
    message = "3 of 15 train responses have no reward: 3 × the chat template.*no system role.*response-1"
    for _ in range(2):
        with pytest.raises(EngineError, match=message):
            stage.score()
    assert count_unscored(stage.workspace.database, RESPONSES, stage.scorer) == 3


def test_a_model_whose_rewards_are_not_finite_ends_the_stage(stage: Stage) -> None:
    stage.change_weights(overflow)
    stage.add_texts(good=4)
    with pytest.raises(EngineError, match="4 of 4 train responses have no reward: 4 × the value is not"):
        stage.score()
    assert stage.workspace.database.fetch("SELECT count(*) FROM scores") == [(0,)]


def test_a_stage_in_which_row_after_row_fails_ends_early(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("figa_core.row_failures._ROWS_TO_JUDGE_BY", 4)
    stage.change_weights(overflow)
    stage.config = stage.config.model_copy(update={"tokens_per_batch": 1})
    stage.add_texts(good=30)
    with pytest.raises(EngineError, match=r"^4 of 4 train responses have no reward"):
        stage.score()


class Hopeless(Engine):
    """Rates no text; `stopped` once it need not go on."""

    stopped = False

    def __init__(self, tell: Callable[[str], None]) -> None:
        pass

    def scorer(self, settings: Scoring, scratch: Path) -> "Hopeless":
        return self

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float]]]:
        try:
            for request in requests:
                yield [(request.subject_id, float("nan"))]
        finally:
            Hopeless.stopped = True


def test_an_engine_is_stopped_as_soon_as_its_stage_ends_early(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("figa_core.row_failures._ROWS_TO_JUDGE_BY", 4)
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    register_engine("hopeless", Hopeless)
    stage.config = stage.config.model_copy(update={"engine": "hopeless"})
    stage.add_texts(good=30)
    with pytest.raises(EngineError) as caught:
        stage.score()
    assert Hopeless.stopped, caught  # whose traceback keeps the variables of the stage
