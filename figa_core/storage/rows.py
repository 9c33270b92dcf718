"""What the store hands to the stages, and which texts of a run a scorer may look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from figa_core.records import FinishReason, Message, Split

REASON_KIND = r"regexp_replace(v.reason, ' \(it is [^)]*\)$', '')"
"""SQL: why a revision `v` is not usable, less the figure of that one row: rows are counted by it."""


def read_messages(text: str) -> tuple[Message, ...]:
    """A conversation from the JSON that `prompts.messages` holds."""
    return tuple(Message(m["role"], m["content"]) for m in orjson.loads(text))


@dataclass(frozen=True, slots=True)
class Subject:
    """A text to score, with the conversation it answers."""

    subject_id: str
    messages: tuple[Message, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Source:
    """Texts of one run that a scorer may look at: `responses_of`, `references_of` or `revisions_of`."""

    query: str
    values: Mapping[str, Any]


def responses_of(run_id: str, generator_id: str, split: Split) -> Source:
    """The responses of one generator to this run's prompts of one split."""
    return Source(
        "SELECT r.response_id AS subject_id, p.messages, r.text FROM responses r "
        "JOIN run_prompts rp USING (prompt_id) JOIN prompts p USING (prompt_id) "
        "WHERE rp.run_id = $run AND r.generator_id = $generator AND p.split = $split",
        {"run": run_id, "generator": generator_id, "split": str(split)},
    )


def references_of(run_id: str) -> Source:
    """The references of this run's training prompts."""
    return Source(
        "SELECT a.reference_id AS subject_id, p.messages, a.text FROM run_prompts rp "
        "JOIN reference_answers a USING (reference_id) JOIN prompts p ON p.prompt_id = rp.prompt_id "
        "WHERE rp.run_id = $run AND p.split = 'train'",
        {"run": run_id},
    )


def revisions_of(run_id: str) -> Source:
    """The successful revisions of this run's kept pairs."""
    return Source(
        "SELECT v.revision_id AS subject_id, p.messages, v.text FROM pairs "
        "JOIN revisions v USING (revision_id) JOIN prompts p ON p.prompt_id = pairs.prompt_id "
        "WHERE pairs.run_id = $run AND pairs.kept AND v.status = 'succeeded'",
        {"run": run_id},
    )


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample still to be drawn."""

    prompt_id: str
    messages: tuple[Message, ...]
    sample_index: int


@dataclass(frozen=True, slots=True)
class Admissible:
    """A successful revision with both rewards, for the guard; `failure` says why one is missing."""

    response_id: str
    response_reward: float | None
    revision_reward: float | None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class AdmittedPair:
    """Everything the weigh stage needs of one pair; `pair_id` is the revision's id."""

    pair_id: str
    response_id: str
    messages: tuple[Message, ...]
    response_text: str
    response_finish: FinishReason
    response_token_ids: tuple[int, ...]
    revision_text: str
    reference_text: str | None
    response_reward: float
    revision_reward: float


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A finished training, as the `trainings` table holds it."""

    training_id: str
    run_id: str
    objective: str
    shard_set_id: str
    parent_model: str
    directory: str
    steps: int
    seconds: float
