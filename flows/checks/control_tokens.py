"""Control tokens of the model in texts: in a prompt they act as such, in a reference they are trained on."""

import re
from collections.abc import Iterator, Sequence

from figa_core.findings import Finding, warning
from figa_core.records import Prompt
from figa_core.revision.thoughts import TURN_ENDS
from flows.checks.facts import Facts

_LENGTH_MIN = 3


def check_control_tokens(facts: Facts) -> Iterator[Finding]:
    """Counts the prompts and the references that hold some."""
    tokens = [t for t in facts.generation_chat.control_tokens if len(t) >= _LENGTH_MIN and not t.isalnum()]
    form = re.compile("|".join(map(re.escape, sorted(tokens))) or r"\b\B")
    found = facts.prompts.all_prompts
    prompts = [match for prompt in found if (match := _in_messages(form, prompt))]
    if prompts:
        yield warning(
            "prompts.path",
            f"{_count(prompts, found)} prompts hold control tokens of the model as text (such as "
            f"{prompts[0].group()!r}), which act as such: one may end the user's turn. Remove them unless "
            "they are meant.",
        )
    with_reference = [prompt.reference for prompt in found if prompt.reference is not None]
    references = [
        match for text in with_reference if (match := form.search(text) or TURN_ENDS.search(text)) is not None
    ]
    if references:
        yield warning(
            "prompts.reference_field",
            f"{_count(references, with_reference)} references hold control tokens as text (such as "
            f"{references[0].group().strip()!r}): the reviser sees them, and a training on references would "
            "teach the model to write them out. Remove them.",
        )


def _in_messages(form: re.Pattern[str], prompt: Prompt) -> re.Match[str] | None:
    return next(filter(None, (form.search(message.content) for message in prompt.messages)), None)


def _count(found: Sequence[object], of: Sequence[object]) -> str:
    return f"{len(found):,} of the first {len(of):,}"
