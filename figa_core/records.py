"""The records that flow through the pipeline, all frozen.

A row's path: `Prompt` → `Response` → `Score` → `Pair` → `Revision` → `Score` → `WeighedPair`.
Ids are content hashes (`figa_core.ids`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any


class Split(StrEnum):
    """Decided at import by the prompt's hash and stored; held-out prompts are never trained on."""

    TRAIN = "train"
    HELD_OUT = "held_out"


class FinishReason(StrEnum):
    """Why a generation ended: on an end-of-turn token, or cut at the token limit."""

    STOP = "stop"
    LENGTH = "length"


class Purpose(StrEnum):
    """What an LLM is asked for; the table `calls` has it for every call."""

    REVISION = "revision"
    WORD_GRADES = "word_grades"
    JUDGEMENT = "judgement"


class RevisionStatus(StrEnum):
    """A row's state in the revise stage."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    UNCHANGED = "unchanged"  # the reviser found nothing to change
    REJECTED = "rejected"  # the answer is not fit to train on
    REFUSED = "refused"  # content filter or refusal: final
    FAILED = "failed"  # no usable answer; `retryable` says whether a later run may try again


class GradeStatus(StrEnum):
    """A pair's state in the grade stage. Without scores its weights are those of the Levenshtein scheme."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    GRADED = "graded"
    UNFIT = "unfit"  # no answer fits the words
    REFUSED = "refused"  # content filter or refusal: final
    FAILED = "failed"  # no answer; `retryable` says whether a later run may try again


class JudgementStatus(StrEnum):
    """The state of a question to a judge. Without a score, an answer has no reward."""

    PENDING = "pending"
    SUBMITTED = "submitted"
    JUDGED = "judged"
    UNFIT = "unfit"  # no answer has a score
    REFUSED = "refused"  # content filter or refusal: final
    FAILED = "failed"  # no answer; `retryable` says whether a later run may try again


class EditClass(IntEnum):
    """A token's class in the Levenshtein alignment of Ŷ and Ỹ. Stored as int8 in the shards."""

    KEPT = 0
    INSERTED = 1  # only in Ỹ
    SUBSTITUTED = 2  # in both
    DELETED = 3  # only in Ŷ
    END_OF_TURN = 4  # what the template puts after an assistant message
    UNIMPORTANT = 5  # only in Ỹ, and by an LLM's score it makes no difference: weight 0


MARKED = frozenset((EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.DELETED))
"""The classes by which a scheme marks a token of an answer as changed."""

TOOLS = "tools"
"""The role of a conversation's first message if there are tools: its content is their list, as JSON."""


@dataclass(frozen=True, slots=True)
class Message:
    """One chat message; `role` is system, user, assistant or tool, or `TOOLS`.

    `more` are the other fields that chat templates know (tool_calls, tool_call_id, name), as a JSON object.
    """

    role: str
    content: str
    more: str = ""

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Message":
        """From what `as_dict` returned."""
        more = {name: value for name, value in fields.items() if name not in ("role", "content")}
        return cls(fields["role"], fields["content"], json.dumps(more, ensure_ascii=False) if more else "")

    def as_dict(self) -> dict[str, Any]:
        return {"role": self.role, "content": self.content, **(json.loads(self.more) if self.more else {})}

    @property
    def shown(self) -> str:
        """The content and the other fields, for those who are no chat template."""
        return "\n".join(text for text in (self.content, self.more) if text)


@dataclass(frozen=True, slots=True)
class Prompt:
    """The conversation up to the assistant's turn, with the reference answer Y if there is one.

    `type` is what the user's data call prompts of this kind; `fields` is a JSON object of other fields of the
    row, if rewards read some.
    """

    prompt_id: str
    messages: tuple[Message, ...]
    split: Split
    reference: str | None = None
    reference_id: str | None = None
    type: str | None = None
    fields: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What rewards may ask for of the row."""
        return {**json.loads(self.fields or "{}"), "type": self.type, "reference": self.reference}


@dataclass(frozen=True, slots=True)
class Response:
    """Ŷ: one sample of a model. `token_ids` are the generated ids without the end-of-turn token.

    `thought` is what the model thought before, with its marks, and None if it did not; a response that is all
    thought has no text.
    """

    response_id: str
    prompt_id: str
    sample_index: int
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    thought: str | None = None
    thought_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One scorer's raw value for one text; `subject_id` is a response, reference or revision id."""

    subject_id: str
    scorer_id: str
    value: float


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a row is accepted, and the reason in words; if not, the reason names the deciding setting."""

    accepted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Revision:
    """Ỹ, or the outcome of the attempt to get it."""

    revision_id: str
    response_id: str
    status: RevisionStatus
    text: str | None = None
    reason: str | None = None
    retryable: bool = False
    attempts: int = 0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Revision":
        """From fields as in JSON. Raises ValueError if a field is missing or unknown, or the status is."""
        try:
            return cls(**{**fields, "status": RevisionStatus(fields["status"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no revision: {error}") from error


@dataclass(frozen=True, slots=True)
class WordGrades:
    """An LLM's scores of the changed words of a revision, or the outcome of the attempt to get them."""

    grade_id: str
    status: GradeStatus
    scores: tuple[int, ...] | None = None
    reason: str | None = None
    retryable: bool = False
    attempts: int = 0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "WordGrades":
        """From fields as in JSON. Raises ValueError if a field is missing, unknown or of a wrong type."""
        try:
            grades = cls(**{**fields, "status": GradeStatus(fields["status"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no word grades: {error}") from error
        types = {"reason": str | None, "retryable": bool, "attempts": int, "scores": list | tuple | None}
        wrong = [name for name, kind in types.items() if not isinstance(getattr(grades, name), kind)]
        scores = grades.scores or ()
        if wrong or any(type(score) is not int or score < 0 for score in scores):
            raise ValueError(f"no word grades: wrong type of {', '.join(wrong) or 'a score'}")
        if (grades.status is GradeStatus.GRADED) != bool(scores):
            raise ValueError(f"no word grades: status {grades.status} with {len(scores)} scores")
        return replace(grades, scores=None if grades.scores is None else tuple(scores))


@dataclass(frozen=True, slots=True)
class Judgement:
    """A judge's score of an answer, or the outcome of the attempt to get it."""

    judgement_id: str
    status: JudgementStatus
    score: float | None = None
    reason: str | None = None
    retryable: bool = False
    attempts: int = 0

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Judgement":
        """From fields as in JSON. Raises ValueError if a field is missing, unknown or of a wrong type."""
        try:
            judgement = cls(**{**fields, "status": JudgementStatus(fields["status"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no judgement: {error}") from error
        types = {"reason": str | None, "retryable": bool, "attempts": int, "score": float | int | None}
        if wrong := [name for name, kind in types.items() if not isinstance(getattr(judgement, name), kind)]:
            raise ValueError(f"no judgement: wrong type of {', '.join(wrong)}")
        if (judgement.status is JudgementStatus.JUDGED) != (judgement.score is not None):
            raise ValueError(f"no judgement: status {judgement.status} with the score {judgement.score}")
        return judgement


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """A row of this run, and an earlier revision for the same question.

    The first four fields are the row's. The others are the earlier revision's, which was asked for again up
    to `asked_again_max` times.
    """

    revision_id: str
    response_id: str
    draft: str
    reference: str | None
    status: RevisionStatus
    text: str | None
    reason: str | None
    attempts: int
    asked_again_max: int | None


@dataclass(frozen=True, slots=True)
class AdmittedPair:
    """Everything the weigh stage needs of one pair; `pair_id` is the revision's id."""

    pair_id: str
    messages: tuple[Message, ...]
    response_text: str
    response_finish: FinishReason
    response_token_ids: tuple[int, ...]
    revision_text: str
    reference_text: str | None
    response_reward: float
    revision_reward: float
    word_scores: tuple[int, ...] | None = None  # of the changed words of Ỹ, if an LLM graded them
    best_text: str | None = None  # of the prompt's sample with the highest reward, if it was looked for
    best_finish: FinishReason | None = None
    thought_ids: tuple[int, ...] = ()  # what the model thought before Ŷ


@dataclass(frozen=True, slots=True)
class WeighedPair:
    """Token ids and edit classes of one admitted pair, as the shards hold them.

    `prompt_ids` end with the thought before Ŷ, if there is one and the training sees it.
    `*_ids` exclude the prompt and include the end of turn where the response has one; `*_classes`
    (values of `EditClass`) have the same length. `reference_ids` is empty without a reference.

    `scale` multiplies the pair's weights, relative to the data set's mean scale (`weighting.schemes`).
    `canonical`: whether the model generated Ŷ as the token ids that its text is tokenized to.
    `revision_factors`: what α is multiplied by at each token of Ỹ; None for 1 at all of them.
    `best_ids`: the prompt's sample with the highest reward; None if it was not looked for, empty if another
    pair of the prompt has it.
    """

    pair_id: str
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    response_classes: tuple[int, ...]
    revision_ids: tuple[int, ...]
    revision_classes: tuple[int, ...]
    reference_ids: tuple[int, ...]
    response_reward: float
    revision_reward: float
    scale: float = 1.0
    canonical: bool = True
    revision_factors: tuple[float, ...] | None = None
    best_ids: tuple[int, ...] | None = None
