"""Held-out answers of a model with their scores, stored as an evaluation stores them."""

from figa_core import ids
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split
from figa_core.storage.evaluations import Evaluation, save_evaluation
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.scores import save_scores
from tasks.workspace import Workspace

from .conftest import RUN


def judge(workspace: Workspace, label: str, metric: str, scores: list[float]) -> None:
    """Store a model's answers to held-out prompts, and a score of each by this metric."""
    database, scorer = workspace.database, f"{metric}-scorer"
    contents = [(Message("user", f"question {place}"),) for place in range(len(scores))]
    prompts = [
        Prompt(ids.prompt_id(messages), messages, Split.HELD_OUT, type="even" if place % 2 == 0 else None)
        for place, messages in enumerate(contents)
    ]
    save_prompts(database, RUN, prompts)
    end = ((5,), FinishReason.STOP)
    responses = [
        Response(f"{label}-{place}", prompt.prompt_id, 0, f"{label} {place}", *end)
        for place, prompt in enumerate(prompts)
    ]
    save_responses(database, f"generator-{label}", responses)
    values = zip(responses, scores, strict=True)
    save_scores(database, [Score(response.response_id, scorer, value) for response, value in values])
    save_evaluation(
        database, Evaluation(RUN, label, metric, f"generator-{label}", scorer, len(scores), 0.0, None)
    )
