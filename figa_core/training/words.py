"""Words that an objective puts between a prompt and its answers (`Objective.chains`).

A model that was trained with such words must be asked with them. So the exported model gets a chat template
that prints them after the prompt, and whoever generates with it, here or elsewhere, need not know them.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.chat.turn import QUESTION, Ids
from figa_core.records import Message
from figa_core.training.objectives.base import Objective


def word_ids(model: Path, objective: type[Objective]) -> dict[str, Ids]:
    """The ids of each of the objective's words, as they follow a prompt or an end of turn."""
    words = objective.words()
    chat = load_chat_format(model) if words else None
    return {} if chat is None else dict(zip(words, chat.response_ids_batch(words), strict=True))


def asking_with(words: str, template: str) -> str:
    """The chat template with `words` at the end of its generation prompt."""
    # Jinja drops a line break at the end of a template, and here it would no longer be at the end.
    start = template.removesuffix("\n")
    return f"{start}{{% if add_generation_prompt %}}{{{{ {json.dumps(words)} }}}}{{% endif %}}"


def problem_with_words(base: ChatFormat, asking: ChatFormat, words: str) -> str | None:
    """Why a model cannot be asked with the ids that it was trained on, the prompt's and then the words'.

    `asking` is the format of the exported model, with the template of `asking_with`.
    """
    (before,), (after,) = (chat.prompt_ids_or_reasons(_CONVERSATION) for chat in (base, asking))
    added = base.response_ids(words)
    if isinstance(before, str) or isinstance(after, str):
        return f"its chat template refuses a plain question: {before if isinstance(before, str) else after}"
    if before[-len(added) :] == added:
        return f"it already asks with the words {words!r}: give the model that it was trained from"
    if after != before + added:
        return f"its tokenizer does not keep the words {words!r} apart from the prompt before them"
    return None


_CONVERSATION: Sequence[Sequence[Message]] = [[Message("user", QUESTION)]]
