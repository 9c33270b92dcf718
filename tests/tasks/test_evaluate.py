"""The evaluate stage on stored responses, with a verifier of this file."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from figa_core import ids
from figa_core.config import EvaluationConfig
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage import summary
from tasks.evaluate import evaluate
from tasks.workspace import Workspace

RUN, GENERATOR, SCORER = "run", "generator", "scorer"


def half(messages: Sequence[Message], text: str) -> float:
    return 0.5


def _prompt(index: int, split: Split) -> Prompt:
    messages = (Message("user", f"question {index}"),)
    return Prompt(ids.prompt_id(messages), messages, split)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(tmp_path)
    store = workspace.store
    store.create()
    store.save_run(RUN, "test", {}, None)
    prompts = [_prompt(i, Split.HELD_OUT if i < 4 else Split.TRAIN) for i in range(6)]
    store.import_prompts(RUN, prompts)
    responses = [
        Response(f"response-{i}", p.prompt_id, 0, f"answer {i}", (1, 2), FinishReason.STOP)
        for i, p in enumerate(prompts)
    ]
    store.save_responses(GENERATOR, responses)
    store.save_scores([Score(r.response_id, SCORER, float(i)) for i, r in enumerate(responses)])
    return workspace


def test_means_are_over_held_out_prompts_only(workspace: Workspace) -> None:
    result = evaluate.fn(workspace, RUN, EvaluationConfig(), "base", GENERATOR, SCORER)

    assert result.n_out == 4
    [row] = summary.evaluations(workspace.store.database, RUN)
    assert (row.label, row.metric, row.n, row.mean) == ("base", "reward", 4, 1.5)
    assert row.standard_error == pytest.approx((5 / 3) ** 0.5 / 2)


def test_a_verifier_is_called_once_a_response(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent)
    config = EvaluationConfig(verifier="test_evaluate:half")
    evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER)
    verified: list[tuple[int, int]] = []
    evaluate.fn(workspace, RUN, config, "base", GENERATOR, SCORER, on_progress=lambda *n: verified.append(n))

    rows = {row.metric: row for row in summary.evaluations(workspace.store.database, RUN)}
    assert (rows["verifier"].n, rows["verifier"].mean) == (4, 0.5)
    assert verified == []
