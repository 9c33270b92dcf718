"""The judge: asks an LLM for the score of an answer. `llm` makes the calls."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from jinja2 import TemplateError

from figa_core import ids
from figa_core.judging.prompt import ANSWER_TOKENS, render, response_format
from figa_core.judging.reader import JudgementReader
from figa_core.llm.asker import Asker
from figa_core.llm.question import Decoding, Question, Unaskable
from figa_core.ports import RewardRequest
from figa_core.records import Judgement, Purpose


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
        """The chat messages of a request.

        Raises:
            jinja2.TemplateError, TypeError, ValueError: no request can carry it.
        """
        messages = render(self.template, request, self.rubric, self.highest_score)
        for message in messages:
            message["content"].encode()
        return messages

    def judgement_id(self, request: RewardRequest) -> str:
        """The id of the question, by what is sent; of one that cannot be sent, by its answer's id."""
        try:
            messages = self.render(request)
        except (TemplateError, TypeError, ValueError):
            messages = [{"role": "not rendered", "content": request.subject_id}]
        return ids.judgement_id(
            messages=messages,
            highest_score=self.highest_score,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def question(self, request: RewardRequest) -> Question[Judgement] | Unaskable[Judgement]:
        """The question for a score; the request's `subject_id` is the judgement's id."""
        reader = JudgementReader(request.subject_id, self.highest_score)
        try:
            messages = self.render(request)
        except (TemplateError, TypeError, ValueError) as error:
            return Unaskable(Purpose.JUDGEMENT, request.subject_id, reader.unaskable(error))
        return Question(
            Purpose.JUDGEMENT, request.subject_id, messages, self.decoding(), reader, ANSWER_TOKENS
        )


@dataclass(frozen=True, slots=True)
class LLMJudge:
    """Asks an LLM for scores of answers. Several batches may share one."""

    asker: Asker
    settings: JudgeSettings

    def judge(self, requests: Sequence[RewardRequest]) -> AsyncIterator[Judgement]:
        """Yield the questions' final states as they come, in any order; raises what `Asker.ask` raises."""
        return self.asker.ask(map(self.settings.question, requests))
