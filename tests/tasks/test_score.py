"""The score stage: rewards that are missing are so for their own rows, unless there are many."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core import ids
from figa_core.config import RewardConfig
from figa_core.errors import EngineError
from figa_core.records import FinishReason, Message, Prompt, Response, Split
from figa_core.sandbox.build import Sandbox
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import count_unscored, responses_of
from tasks.score import score_responses, scorer_id
from tasks.workspace import Workspace

RUN, GENERATOR = "run-of-the-test", "generator"
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
)


def reward_model(sandbox: Sandbox, target: Path, change: Any = None) -> RewardConfig:
    shutil.copytree(sandbox.reward_model, target)
    (target / "chat_template.jinja").write_text(NO_SYSTEM)
    if change is not None:
        weights = load_file(target / "model.safetensors")
        change(weights)
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return RewardConfig(model=target, engine="transformers", max_length=64)


def overflow(weights: dict[str, torch.Tensor]) -> None:
    """Weights that are finite, and rewards that are not: as in fp16 with texts of some kind."""
    weights["model.norm.weight"].fill_(3e38)
    weights["score.weight"].fill_(10.0)


def answered(workspace: Workspace, good: int, refused: int) -> None:
    """Prompts with a response each; those with a system message come after the others."""
    prompts = []
    for i in range(good + refused):
        system = (Message("system", "Be brief."),) if i >= good else ()
        messages = (*system, Message("user", f"question {i}"))
        prompts.append(Prompt(ids.prompt_id(messages), messages, Split.TRAIN))
    save_prompts(workspace.database, RUN, prompts)
    save_responses(
        workspace.database,
        GENERATOR,
        [
            Response(f"response-{i}", p.prompt_id, 0, f"answer {i}", (5,), FinishReason.STOP)
            for i, p in enumerate(prompts)
        ],
    )


def score(workspace: Workspace, config: RewardConfig) -> Any:
    return score_responses.fn(workspace, RUN, config, GENERATOR, Split.TRAIN)


def test_a_text_that_the_template_refuses_is_stored_with_the_reason_and_not_tried_again(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    config = reward_model(sandbox, tmp_path / "reward")
    answered(workspace, good=11, refused=1)
    result = score(workspace, config)
    assert (result.n_in, result.n_out) == (12, 11)
    assert result.reasons == {"the chat template refuses these messages: no system role": 1}
    found = workspace.database.fetch("SELECT subject_id, scorer_id FROM score_failures")
    assert found == [("response-11", scorer_id(workspace, config))]
    again = score(workspace, config)
    assert (again.n_in, again.n_out, again.reasons) == (0, 0, {})


def test_many_refused_texts_end_the_stage_by_name_and_are_tried_again(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    config = reward_model(sandbox, tmp_path / "reward")
    answered(workspace, good=12, refused=3)
    said = r"3 of 15 responses have no reward: 3 × the chat template refuses.*no system role.*response-1"
    for _ in range(2):
        with pytest.raises(EngineError, match=said):
            score(workspace, config)
    source = responses_of(RUN, GENERATOR, Split.TRAIN)
    assert count_unscored(workspace.database, source, scorer_id(workspace, config)) == 3


def test_a_model_whose_rewards_are_no_numbers_ends_the_stage(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path
) -> None:
    config = reward_model(sandbox, tmp_path / "reward", overflow)
    answered(workspace, good=4, refused=0)
    with pytest.raises(EngineError, match=r"4 of 4 responses have no reward: 4 × the value is not a finite"):
        score(workspace, config)
    assert workspace.database.fetch("SELECT count(*) FROM scores") == [(0,)]


def test_a_stage_that_fails_for_row_after_row_does_not_go_through_them_all(
    workspace: Workspace, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("figa_core.row_failures._ROWS_TO_JUDGE_BY", 4)

    config = reward_model(sandbox, tmp_path / "reward", overflow).model_copy(update={"tokens_per_batch": 1})
    answered(workspace, good=30, refused=0)
    with pytest.raises(EngineError, match=r"^4 of 4 responses have no reward"):
        score(workspace, config)
