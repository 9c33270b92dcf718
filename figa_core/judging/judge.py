"""The judge: asks an LLM for the score of an answer. `llm` makes the calls; `pairwise.py` compares two."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from jinja2 import TemplateError

from figa_core import ids
from figa_core.judging.prompt import ANSWER_TOKENS, render, response_format
from figa_core.judging.reader import AnswerForm, JudgementReader, ScoreForm
from figa_core.llm.asker import Asker
from figa_core.llm.question import Decoding, Question, Unaskable
from figa_core.ports import RewardRequest
from figa_core.records import Judgement, Purpose

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Asked:
    """The messages about a subject, or why no request can carry them."""

    subject_id: str
    messages: list[dict[str, str]]
    problem: Exception | None = None

    def id_with(self, *, highest_score: int, model: str, temperature: float | None, max_tokens: int) -> str:
        """The id of the question, by what is sent; of one that cannot be sent, by its subject's id."""
        unsent = [{"role": "not rendered", "content": self.subject_id}]
        return ids.judgement_id(
            messages=unsent if self.problem else self.messages,
            highest_score=highest_score,
            model=model,
            temperature=temperature,
            max_tokens=max_tokens,
        )

    def question(self, form: AnswerForm, decoding: Decoding) -> Question[Judgement] | Unaskable[Judgement]:
        """The question; the subject's id is the judgement's."""
        reader = JudgementReader(self.subject_id, form)
        if self.problem is not None:
            return Unaskable(Purpose.JUDGEMENT, self.subject_id, reader.unaskable(self.problem))
        return Question(Purpose.JUDGEMENT, self.subject_id, self.messages, decoding, reader, ANSWER_TOKENS)


def asked_about(subject_id: str, render: Callable[[], list[dict[str, str]]]) -> Asked:
    """What is asked about a subject, in the messages that `render` makes."""
    try:
        messages = render()
        for message in messages:
            message["content"].encode()
    except (TemplateError, TypeError, ValueError) as error:
        return Asked(subject_id, [], error)
    return Asked(subject_id, messages)


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What a judge is asked, and by which model."""

    model: str
    template: str
    rubric: str | None = None
    highest_score: int = 10
    temperature: float | None = 0.0
    max_tokens: int = 1024
    structured_output: bool = True

    def decoding(self) -> Decoding:
        """How answers are generated."""
        form = response_format() if self.structured_output else None
        return Decoding(self.max_tokens, self.temperature, form)

    def render(self, request: RewardRequest) -> list[dict[str, str]]:
        """The chat messages of a request; raises jinja2.TemplateError."""
        return render(self.template, request, self.rubric, self.highest_score)

    def judgement_id(self, request: RewardRequest) -> str:
        """The id of the question, by what is sent; of one that cannot be sent, by its answer's id."""
        return asked_about(request.subject_id, lambda: self.render(request)).id_with(
            highest_score=self.highest_score,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def question(self, request: RewardRequest) -> Question[Judgement] | Unaskable[Judgement]:
        """The question for a score; the request's `subject_id` is the judgement's id."""
        asked = asked_about(request.subject_id, lambda: self.render(request))
        return asked.question(ScoreForm(self.highest_score), self.decoding())


class Asks(Protocol[R_contra]):
    """Turns requests into questions, such as `JudgeSettings` or `PairwiseSettings`."""

    def judgement_id(self, request: R_contra) -> str: ...
    def question(self, request: R_contra) -> Question[Judgement] | Unaskable[Judgement]: ...


@dataclass(frozen=True, slots=True)
class LLMJudge(Generic[R]):
    """Asks an LLM about answers. Several batches may share one."""

    asker: Asker
    settings: Asks[R]

    def judge(self, requests: Sequence[R]) -> AsyncIterator[Judgement]:
        """Yield the questions' final states as they come, in any order; raises what `Asker.ask` raises."""
        return self.asker.ask(map(self.settings.question, requests))
