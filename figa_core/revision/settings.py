"""How revisions are asked for and judged: plain values."""

from dataclasses import dataclass, field

from figa_core.llm.question import Decoding
from figa_core.revision.prompt import RESPONSE_FORMAT, PromptTemplates, load_templates


@dataclass(frozen=True, slots=True)
class ReviserSettings:
    """By default answers are JSON; from an endpoint without `response_format` they are plain text."""

    decoding: Decoding = field(default_factory=lambda: Decoding(1024, response_format=RESPONSE_FORMAT))
    max_edit_share: float = 0.8  # above it an answer is a rewrite (`words.edit_share`)
    templates: PromptTemplates = field(default_factory=load_templates)
