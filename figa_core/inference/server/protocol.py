"""What vLLM's server is asked and what it answers, as bytes; nothing here opens a connection.

Token ids go in and come out, so that a sample is the same as the local engine's. The fields are those of
vLLM 0.32 (`/v1/completions`, `/classify`, `/v1/models`, `/metrics`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from figa_core.inference.engine import Generating
from figa_core.ports import Generation, GenerationRequest, ScoringRequest
from figa_core.records import FinishReason

ANY_VOCABULARY = 2**31
"""For a model whose size is not known: ids are stored in 32 bits."""
_TEXT_MAX = 300
_WAITING = re.compile(rb"^vllm:num_requests_waiting(?:\{[^}]*\})?\s+([0-9.eE+]+)\s*$", re.MULTILINE)


class BadAnswerError(Exception):
    """An answer with HTTP status 200 that is not one; the message says why."""


class BadSampleError(Exception):
    """An answer in order, whose sample is not what was asked for: another try would give the same."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that a server lists.

    Attributes:
        name: by which requests name it.
        max_length: its `max_model_len`; None if the server does not say it.
        by_vllm: whether the server is vLLM.
        root: directory or name from which it was loaded; None if the server does not say it.
    """

    name: str
    max_length: int | None
    by_vllm: bool
    root: str | None = None


def completion_body(model: str, request: GenerationRequest, settings: Generating) -> bytes:
    """One sample. What is not asked for is switched off by name: a server's defaults are those of the model's
    generation_config.json, which may hold a repetition penalty, say.
    """
    return orjson.dumps(
        {
            "model": model,
            "prompt": request.prompt_ids,
            "seed": request.seed,
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "top_p": settings.top_p,
            "top_k": settings.top_k,
            "min_p": settings.min_p,
            "repetition_penalty": settings.repetition_penalty,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "n": 1,
            **({"stop": list(settings.stop)} if settings.stop else {}),
            "stop_token_ids": list(settings.stop_token_ids),
            "ignore_eos": True,  # only our stops count, as with the local engines
            "add_special_tokens": False,
            "return_token_ids": True,
        }
    )


def read_completion(
    content: bytes, request: GenerationRequest, settings: Generating, vocabulary: int = ANY_VOCABULARY
) -> Generation:
    """The sample, without the token that ended it; a text that ended it is still in it.

    `vocabulary`: the token ids that the model knows are below it.

    Raises:
        BadAnswerError: the answer is not a completion of this prompt with its token ids.
        BadSampleError: the server ended the sample where it should not have.
    """
    choices = _field(_object(content), "choices", list)
    if len(choices) != 1 or not isinstance(choices[0], dict):
        raise BadAnswerError(f"it has {len(choices)} samples instead of one")
    choice = choices[0]
    ids = _token_ids(choice.get("token_ids"), "token_ids", vocabulary)
    echoed = choice.get("prompt_token_ids")
    if echoed is not None and _token_ids(echoed, "prompt_token_ids", vocabulary) != request.prompt_ids:
        raise BadAnswerError("it is an answer to another prompt")
    if len(ids) > settings.max_tokens:
        raise BadAnswerError(f"the sample has {len(ids)} tokens instead of at most {settings.max_tokens}")
    finish = choice.get("finish_reason")
    if finish == "length":
        return Generation(request.request_id, _full(ids, settings), FinishReason.LENGTH)
    if finish != "stop":
        raise BadAnswerError(f"the sample ended by {finish!r}")
    if isinstance(stop := choice.get("stop_reason"), str) and stop in settings.stop:
        return Generation(request.request_id, ids, FinishReason.STOP)
    return Generation(request.request_id, _stopped(ids, settings), FinishReason.STOP)


def _full(ids: tuple[int, ...], settings: Generating) -> tuple[int, ...]:
    if len(ids) < settings.max_tokens:
        raise BadSampleError(
            "the server cut the sample below generation.max_tokens; start it with a longer --max-model-len "
            f"and --generation-config vllm ({len(ids)} tokens)"
        )
    return ids


def _stopped(ids: tuple[int, ...], settings: Generating) -> tuple[int, ...]:
    if not ids or ids[-1] not in settings.stop_token_ids:
        raise BadSampleError(
            "the server ends samples at a token that does not end this model's turn; start it with "
            f"--generation-config vllm (token {ids[-1] if ids else 'none'})"
        )
    return ids[:-1]


def classify_body(model: str, requests: Sequence[ScoringRequest]) -> bytes:
    """The raw logits of several texts, without the sigmoid that is vLLM's default."""
    return orjson.dumps(
        {
            "model": model,
            "input": [request.token_ids for request in requests],
            "add_special_tokens": False,
            "use_activation": False,
        }
    )


def read_rewards(
    content: bytes, requests: Sequence[ScoringRequest], label: int | None = None
) -> list[tuple[str, float]]:
    """The reward of each text, in the requests' order: its only value, or the one of `label`.

    Raises:
        BadAnswerError: the answer does not have one number for each of the texts.
    """
    rows = _field(_object(content), "data", list)
    values: dict[int, float] = {}
    for row in rows:
        index = row.get("index") if isinstance(row, dict) else None
        probs = row.get("probs") if isinstance(row, dict) else None
        if not isinstance(index, int) or not isinstance(probs, list) or index in values:
            raise BadAnswerError("a row of it has no place or no values")
        value = _of_label(probs, label)
        # A reward that JSON cannot hold (not a number, infinite) comes as null.
        values[index] = float("nan") if value is None else float(_number(value))
    if values.keys() != set(range(len(requests))):
        raise BadAnswerError(f"it has {len(rows)} rewards for {len(requests)} texts")
    return [(request.subject_id, values[place]) for place, request in enumerate(requests)]


def _of_label(values: list[Any], label: int | None) -> Any:
    if len(values) == 1:
        return values[0]
    if label is None:
        raise BadAnswerError(f"the model has {len(values)} labels; a reward model has one (see reward.label)")
    if label >= len(values):
        raise BadAnswerError(f"the model has {len(values)} labels, and none is number {label} (reward.label)")
    return values[label]


def read_models(content: bytes) -> list[ServedModel]:
    """The models that a server lists. Raises BadAnswerError if this is no list of models."""
    found = []
    for row in _field(_object(content), "data", list):
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise BadAnswerError("a model in it has no name")
        length = row.get("max_model_len")
        by_vllm = row.get("owned_by") == "vllm" or isinstance(length, int)
        root = row.get("root")
        found.append(
            ServedModel(
                name=row["id"],
                max_length=length if isinstance(length, int) else None,
                by_vllm=by_vllm,
                root=root if isinstance(root, str) else None,
            )
        )
    return found


def read_waiting(metrics: bytes) -> int | None:
    """How many requests wait in the server's queue, over all its engines; None if it does not say."""
    found = _WAITING.findall(metrics)
    return int(sum(map(float, found))) if found else None


def read_message(content: bytes) -> str:
    """An error's message, in one line; of a body in any form."""
    text = content.decode(errors="replace")
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        inner = body.get("error")
        inner = inner if isinstance(inner, dict) else body
        said = inner.get("message") or inner.get("detail") or inner.get("error")
        text = said if isinstance(said, str) else text
    return " ".join(text.split())[:_TEXT_MAX]


def _object(content: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        raise BadAnswerError(f"it is not JSON: {content[:60].decode(errors='replace')!r}") from None
    if not isinstance(body, dict):
        raise BadAnswerError("it is not a JSON object")
    return body


def _field(body: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(body.get(name), kind):
        raise BadAnswerError(f"it has no {name!r}")
    return body[name]


def _token_ids(value: object, name: str, vocabulary: int) -> tuple[int, ...]:
    if value is None:
        raise BadAnswerError(f"it has no {name}: vLLM 0.10.2 or later returns them")
    if not isinstance(value, list) or any(type(each) is not int or each < 0 for each in value):
        raise BadAnswerError(f"its {name} are not token ids")
    if (largest := max(value, default=0)) >= vocabulary:
        raise BadAnswerError(
            f"its {name} are of another model: {largest} is not below {vocabulary}, the size of this model's "
            "vocabulary"
        )
    return tuple(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadAnswerError("a value of it is not a number")
    return float(value)
