"""The reviser: takes rows and yields their final states. It makes the questions; `llm` asks them."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from jinja2 import TemplateError

from figa_core.llm.asker import Asker
from figa_core.llm.calls import text_mark
from figa_core.llm.question import Decoding, Question, Unaskable
from figa_core.ports import RevisionRequest
from figa_core.records import Purpose, Revision
from figa_core.revision.prompt import RESPONSE_FORMAT, PromptTemplates, expected_tokens, load_templates
from figa_core.revision.reader import RevisionReader


@dataclass(frozen=True, slots=True)
class ReviserSettings:
    """By default answers are JSON; from an endpoint without `response_format` they are plain text."""

    decoding: Decoding = field(default_factory=lambda: Decoding(1024, response_format=RESPONSE_FORMAT))
    max_edit_share: float = 0.8  # above it an answer is a rewrite (`words.edit_share`)
    templates: PromptTemplates = field(default_factory=load_templates)


@dataclass(frozen=True, slots=True)
class LLMReviser:
    """Satisfies `ports.Reviser`. Several batches may share one."""

    asker: Asker
    settings: ReviserSettings

    def revise(self, requests: Sequence[RevisionRequest]) -> AsyncIterator[Revision]:
        """Yield the rows' final states as they come, in any order; raises what `Asker.ask` raises."""
        return self.asker.ask(map(self._question, requests))

    def _question(self, row: RevisionRequest) -> Question[Revision] | Unaskable[Revision]:
        settings, reader = self.settings, RevisionReader(row, self.settings.max_edit_share)
        try:
            messages = settings.templates.render(row.messages, row.response, row.reference)
            for message in messages:
                message["content"].encode()
        except (TemplateError, UnicodeEncodeError) as error:
            return Unaskable(Purpose.REVISION, row.revision_id, reader.unaskable(error))
        return Question(
            Purpose.REVISION,
            row.revision_id,
            messages,
            settings.decoding,
            reader,
            expected_tokens(row.response),
            text_mark(row.response),
        )
