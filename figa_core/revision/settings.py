"""How revisions are asked for and judged: plain values."""

from dataclasses import dataclass, field

from figa_core.llm.question import Decoding
from figa_core.revision.prompt import RESPONSE_FORMAT, PromptTemplates, load_templates


@dataclass(frozen=True, slots=True)
class ReviserSettings:
    """How to ask for a revision.

    Attributes:
        decoding: how answers are generated; JSON is asked for by default. An endpoint that takes no
            `response_format` is asked for plain text from then on.
        max_edit_share: above it an answer is a rewrite (`validation.edit_share`).
        templates: what the reviser is told.
    """

    decoding: Decoding = field(default_factory=lambda: Decoding(1024, response_format=RESPONSE_FORMAT))
    max_edit_share: float = 0.8
    templates: PromptTemplates = field(default_factory=load_templates)
