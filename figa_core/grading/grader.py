"""The grader: finds the changed words of pairs and asks an LLM to score them. `llm` makes the calls."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

from jinja2 import TemplateError

from figa_core import ids
from figa_core.chat.format import ChatFormat
from figa_core.grading.prompt import expected_tokens, load_template, render, response_format
from figa_core.grading.reader import GradeReader
from figa_core.llm.asker import Asker
from figa_core.llm.question import Decoding, Question, Unaskable
from figa_core.ports import GradeRequest
from figa_core.records import AdmittedPair, Purpose, WordGrades
from figa_core.revision.words import restore_ends
from figa_core.weighting.alignment import edit_classes
from figa_core.weighting.schemes import HIGHEST_SCORES
from figa_core.weighting.words import Span, changed_words


@dataclass(frozen=True, slots=True)
class GraderSettings:
    """What the grader is asked and by which model, with one of the schemes in `HIGHEST_SCORES`."""

    scheme: str
    model: str
    template: str
    temperature: float | None = 0.0
    max_tokens: int = 2048
    structured_output: bool = True

    @classmethod
    def built_in(cls, scheme: str, model: str) -> "GraderSettings":
        """With this package's instructions."""
        return cls(scheme, model, load_template(scheme))

    def decoding(self) -> Decoding:
        """How answers are generated."""
        form = response_format(self.scheme) if self.structured_output else None
        return Decoding(self.max_tokens, self.temperature, form)

    def render(self, request: GradeRequest) -> list[dict[str, str]]:
        """The chat messages of a request; raises jinja2.TemplateError."""
        return render(self.template, request, HIGHEST_SCORES[self.scheme])

    def question(self, request: GradeRequest) -> Question[WordGrades] | Unaskable[WordGrades]:
        """The question for the scores of the request's words."""
        reader = GradeReader(request.grade_id, len(request.words), self.scheme)
        try:
            messages = self.render(request)
            for message in messages:
                message["content"].encode()
        except (TemplateError, TypeError, ValueError) as error:
            return Unaskable(Purpose.WORD_GRADES, request.grade_id, reader.unaskable(error))
        return Question(
            Purpose.WORD_GRADES,
            request.grade_id,
            messages,
            self.decoding(),
            reader,
            expected_tokens(self.scheme, len(request.words)),
        )

    def request(self, pair: AdmittedPair, words: Sequence[Span]) -> GradeRequest:
        """The request for these words of a pair's revision; its id says what is asked, and of which model."""
        revision = restore_ends(pair.response_text, pair.revision_text)
        grade_id = ids.grade_id(
            messages=pair.messages,
            response=pair.response_text,
            revision=revision,
            reference=pair.reference_text,
            words=words,
            scheme=self.scheme,
            template=self.template,
            model=self.model,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        return GradeRequest(
            grade_id, pair.messages, pair.response_text, revision, pair.reference_text, tuple(words)
        )


@dataclass(frozen=True, slots=True)
class LLMGrader:
    """Asks an LLM for the scores of words. Several batches may share one."""

    asker: Asker
    settings: GraderSettings

    def grade(self, requests: Sequence[GradeRequest]) -> AsyncIterator[WordGrades]:
        """Yield the pairs' final states as they come, in any order; raises what `Asker.ask` raises."""
        return self.asker.ask(map(self.settings.question, requests))


def requests_of(
    chat: ChatFormat, pairs: Sequence[AdmittedPair], settings: GraderSettings
) -> Iterator[tuple[str, GradeRequest]]:
    """The pairs' ids and requests; a pair whose revision only deletes has no word to grade, so none."""
    revised = [restore_ends(pair.response_text, pair.revision_text) for pair in pairs]
    before = chat.response_ids_batch([pair.response_text for pair in pairs])
    after = chat.response_ids_batch(revised)
    for pair, text, response, revision in zip(pairs, revised, before, after, strict=True):
        _, classes = edit_classes(response, revision)
        words = changed_words(text, chat.response_spans(text), classes)[0] if any(classes) else []
        if words:
            yield pair.pair_id, settings.request(pair, words)
