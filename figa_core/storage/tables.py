"""How rows are written: Arrow schemas with the names of the columns of `migrations`, and messages as JSON."""

from collections.abc import Iterable

import orjson
import pyarrow as pa

from figa_core.records import Message

_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int32(), pa.float64(), pa.bool_()
PROMPTS = pa.schema([("prompt_id", _TEXT), ("messages", _TEXT), ("split", _TEXT)])
REFERENCES = pa.schema([("reference_id", _TEXT), ("prompt_id", _TEXT), ("text", _TEXT)])
RUN_PROMPTS = pa.schema([("run_id", _TEXT), ("prompt_id", _TEXT), ("reference_id", _TEXT)])
BAD_ROWS = pa.schema([("run_id", _TEXT), ("source_row", pa.int64()), ("reason", _TEXT)])
RESPONSES = pa.schema(
    [
        ("response_id", _TEXT),
        ("prompt_id", _TEXT),
        ("generator_id", _TEXT),
        ("sample_index", _INT),
        ("text", _TEXT),
        ("token_ids", pa.list_(_INT)),
        ("finish_reason", _TEXT),
    ]
)
SCORES = pa.schema([("subject_id", _TEXT), ("scorer_id", _TEXT), ("value", _FLOAT)])
GENERATION_FAILURES = pa.schema(
    [
        ("prompt_id", _TEXT),
        ("generator_id", _TEXT),
        ("sample_index", _INT),
        ("kind", _TEXT),
        ("reason", _TEXT),
    ]
)
SCORE_FAILURES = pa.schema([("subject_id", _TEXT), ("scorer_id", _TEXT), ("kind", _TEXT), ("reason", _TEXT)])
REVISIONS = pa.schema(
    [
        ("revision_id", _TEXT),
        ("response_id", _TEXT),
        ("reference_id", _TEXT),
        ("model", _TEXT),
        ("status", _TEXT),
        ("question_id", _TEXT),
        ("asked_again_max", pa.int32()),
    ]
)
PAIRS = pa.schema(
    [
        ("run_id", _TEXT),
        ("response_id", _TEXT),
        ("prompt_id", _TEXT),
        ("kept", _BOOL),
        ("keep_reason", _TEXT),
        ("revision_id", _TEXT),
        ("scorer_id", _TEXT),
    ]
)
KEEP_DECISIONS = pa.schema(
    [
        ("response_id", _TEXT),
        ("prompt_id", _TEXT),
        ("kept", _BOOL),
        ("keep_reason", _TEXT),
        ("revision_id", _TEXT),
        ("reference_id", _TEXT),
        ("question_id", _TEXT),
    ]
)
DECISIONS = pa.schema([("response_id", _TEXT), ("accepted", _BOOL), ("reason", _TEXT)])


def messages_text(messages: Iterable[Message]) -> str:
    """A conversation as JSON, for `prompts.messages`."""
    return orjson.dumps([message.as_dict() for message in messages]).decode()


def read_messages(text: str) -> tuple[Message, ...]:
    """The conversation that `messages_text` wrote."""
    return tuple(Message(m["role"], m["content"]) for m in orjson.loads(text))
