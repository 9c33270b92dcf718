"""The evaluate stage on stored responses, with a verifier of this file."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from figa_core import ids
from figa_core.config import EvaluationConfig
from figa_core.errors import EvaluationError
from figa_core.ports import RowFailure
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage.evaluations import evaluations_of
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.runs import save_run
from figa_core.storage.scores import save_score_failures, save_scores
from tasks.evaluate import evaluate
from tasks.workspace import Workspace

RUN, GENERATOR, SCORER = "run", "generator", "scorer"


def half(messages: Sequence[Message], text: str) -> float:
    return 0.5


def _prompt(index: int, split: Split) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    return Prompt(ids.prompt_id(messages), messages, split)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    workspace = Workspace(tmp_path)
    database = workspace.database
    database.create()
    save_run(database, RUN, "test", {}, None)
    prompts = [_prompt(i, Split.HELD_OUT if i < 4 else Split.TRAIN) for i in range(6)]
    save_prompts(database, RUN, prompts)
    responses = [
        Response(f"response-{i}", p.prompt_id, 0, f"answer {i}", (1, 2), FinishReason.STOP)
        for i, p in enumerate(prompts)
    ]
    save_responses(database, GENERATOR, responses)
    save_scores(database, [Score(r.response_id, SCORER, float(i)) for i, r in enumerate(responses)])
    return workspace


def test_means_are_over_held_out_prompts_only(workspace: Workspace) -> None:
    result = evaluate.fn(workspace, RUN, EvaluationConfig(), "base", GENERATOR, SCORER)

    assert result.n_out == 4
    [row] = evaluations_of(workspace.database, RUN)
    assert (row.label, row.metric, row.n, row.mean) == ("base", "reward", 4, 1.5)
    assert row.standard_error == pytest.approx((5 / 3) ** 0.5 / 2)


def test_a_verifier_is_called_once_per_response(workspace: Workspace) -> None:
    config = EvaluationConfig(verifier="test_evaluate:half")
    evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER)
    verified: list[tuple[int, int]] = []
    evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER, on_progress=lambda *n: verified.append(n))

    rows = {row.metric: row for row in evaluations_of(workspace.database, RUN)}
    assert (rows["verifier"].n, rows["verifier"].mean) == (4, 0.5)
    assert verified == []


def moody(messages: Sequence[Message], text: str) -> Any:
    """Fails for some rows, as verifiers do."""
    index = int(text.removeprefix("answer "))
    if index == 0:
        raise KeyError(text)
    return {1: math.nan, 2: "good"}.get(index, np.float32(0.25))


def hopeless(messages: Sequence[Message], text: str) -> float:
    return 57.0


def _held_out(workspace: Workspace, rows: int) -> None:
    """Save answered and scored held-out prompts; every eleventh has no reward."""
    database = workspace.database
    prompts = [_prompt(i, Split.HELD_OUT) for i in range(10, 10 + rows)]
    save_prompts(database, RUN, prompts)
    responses = [
        Response(f"more-{i:03d}", p.prompt_id, 0, f"answer {i}", (1,), FinishReason.STOP)
        for i, p in enumerate(prompts, start=10)
    ]
    save_responses(database, GENERATOR, responses)
    failed = responses[::11]
    save_scores(database, [Score(r.response_id, SCORER, 1.5) for r in responses if r not in failed])
    save_score_failures(database, SCORER, [RowFailure(r.response_id, "odd (1)") for r in failed])


def test_rows_without_a_value_are_left_out_counted_and_not_tried_again(workspace: Workspace) -> None:
    _held_out(workspace, 40)
    config = EvaluationConfig(verifier="test_evaluate:moody")
    for _ in range(2):
        result = evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER)
        assert (result.n_in, result.n_out) == (44, 40)
        assert result.reasons == {
            "without a reward: odd": 4,
            "without a verifier: the verifier raised KeyError": 1,
            "without a verifier: the verifier returned what is no number": 1,
            "without a verifier: the verifier returned what is not between 0 and 1": 1,
        }
    rows = {row.metric: row for row in evaluations_of(workspace.database, RUN)}
    assert (rows["reward"].n, rows["reward"].mean, rows["reward"].left_out) == (40, 1.5, 4)
    assert (rows["verifier"].n, rows["verifier"].mean, rows["verifier"].left_out) == (41, 0.25, 3)


def test_a_verifier_that_fails_for_all_rows_ends_the_stage_and_is_tried_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EvaluationConfig(verifier="test_evaluate:hopeless")
    message = (
        r"4 of 4 held_out responses have no value of evaluation.verifier = .test_evaluate:hopeless.: 4 × .*57"
    )
    with pytest.raises(EvaluationError, match=message):
        evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER)
    assert workspace.database.fetch("SELECT count(*) FROM score_failures") == [(0,)]
    monkeypatch.setattr("test_evaluate.hopeless", half)
    assert evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER).n_out == 4
