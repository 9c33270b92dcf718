"""The judge of two answers: which of them is better. Its calls are those of any judge (`judge.py`)."""

from dataclasses import dataclass

from figa_core import ids
from figa_core.judging.judge import asked_about
from figa_core.judging.pairwise_prompt import ChoiceForm, load_template, render, response_format
from figa_core.llm.question import Decoding, Question, Unaskable
from figa_core.ports import ComparisonRequest
from figa_core.records import Judgement


@dataclass(frozen=True, slots=True)
class PairwiseSettings:
    """What the judge is asked, and by which model."""

    model: str
    template: str
    rubric: str | None = None
    temperature: float | None = 0.0
    max_tokens: int = 1024
    structured_output: bool = True

    @classmethod
    def built_in(cls, model: str) -> "PairwiseSettings":
        """With this package's instructions."""
        return cls(model, load_template())

    def render(self, request: ComparisonRequest) -> list[dict[str, str]]:
        """The chat messages of a request; raises jinja2.TemplateError."""
        return render(self.template, request, self.rubric)

    def comparison_id(self, one: str, other: str) -> str:
        """The id of the comparison of two generators' answers: what is asked, by which model, about which."""
        return ids.comparison_id(
            model=self.model,
            template=self.template,
            rubric=self.rubric,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            generators=(one, other),
        )

    def judgement_id(self, request: ComparisonRequest) -> str:
        """See `JudgeSettings.judgement_id`. The highest value of a choice is 1."""
        return asked_about(request.subject_id, lambda: self.render(request)).id_with(
            highest_score=1, model=self.model, temperature=self.temperature, max_tokens=self.max_tokens
        )

    def question(self, request: ComparisonRequest) -> Question[Judgement] | Unaskable[Judgement]:
        """The question for a choice; the request's `subject_id` is the judgement's id."""
        form = response_format() if self.structured_output else None
        decoding = Decoding(self.max_tokens, self.temperature, form)
        return asked_about(request.subject_id, lambda: self.render(request)).question(ChoiceForm(), decoding)
