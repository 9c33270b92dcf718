"""Models that think before they answer: how they mark a thought, and where it ends in a response.

A model is taken for one that thinks if its chat template or its vocabulary has such marks. Its responses are
split at the end of the thought, by token ids, so that the thought's ids are those that the model wrote.
"""

from collections.abc import Sequence
from typing import NamedTuple

from figa_core.chat.format import ChatFormat
from figa_core.chat.turn import QUESTION, Ids
from figa_core.errors import InputError
from figa_core.records import Message


class Marks(NamedTuple):
    """The marks before and after a thought; `tokens` are in the vocabulary of models that use them."""

    opening: str
    closing: str
    tokens: tuple[str, ...]


def _marks(opening: str, closing: str) -> Marks:
    return Marks(opening, closing, (opening, closing))


MARKS = (
    _marks("<think>", "</think>"),  # DeepSeek R1, Qwen 3, GLM 4.5, SmolLM 3
    _marks("<seed:think>", "</seed:think>"),
    _marks("[THINK]", "[/THINK]"),  # Magistral
    _marks("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    _marks("<|begin_of_thought|>", "<|end_of_thought|>"),
    _marks("◁think▷", "◁/think▷"),  # Kimi
    Marks("<|channel|>analysis<|message|>", "<|channel|>final<|message|>", ("<|channel|>", "<|message|>")),
    Marks("<|channel>thought", "<channel|>", ("<|channel>", "<channel|>")),
)
_TEMPLATE = "chat template"
SWITCHES = ("enable_thinking", "thinking")
_ASKED = (Message("user", QUESTION),)


class Parts(NamedTuple):
    """A response in two. `answer_ids` is None if the response is all thought: it may lack an end.

    `thought` is the text of the thought with its marks, None if there is none.
    """

    thought: str | None
    thought_ids: Ids
    answer_ids: Ids | None


class Thoughts:
    """The marks of one model; `begun`: its prompts end within a thought."""

    def __init__(self, chat: ChatFormat, marks: Marks, found_in: tuple[str, ...]) -> None:
        self._chat, self._marks = chat, marks
        self._found_in = found_in
        self.begun = self._is_begun()

    @property
    def shown(self) -> str:
        """The marks, and where they were found, for people."""
        return f"{self._marks.opening} … {self._marks.closing} in its {' and '.join(self._found_in)}"

    @property
    def closing(self) -> str:
        """The mark at the end of a thought."""
        return self._marks.closing

    @property
    def in_template(self) -> bool:
        """Whether the template has the marks; a vocabulary alone may have some that its model never uses."""
        return _TEMPLATE in self._found_in

    def split(self, ids: Sequence[int]) -> Parts:
        """Split what the model wrote, without its end of turn, after the first end of a thought."""
        ids, text = tuple(ids), self._chat.decode_marked(ids)
        place = text.find(self._marks.closing)
        if place < 0:
            if self.begun or text.lstrip().startswith(self._marks.opening):
                return Parts(text, ids, None)
            return Parts(None, (), ids)
        end = place + len(self._marks.closing)
        count = self._tokens_up_to_mark(ids)
        while count < len(ids) and self._chat.decode_marked(ids[count : count + 1]).isspace():
            count += 1
        thought_ids, answer_ids = ids[:count], ids[count:]
        if self._chat.decode_marked(thought_ids)[end:].strip():  # a token spans the end of the mark
            answer = text[end:].lstrip()
            thought_ids = self._chat.template_ids(text[: len(text) - len(answer)])
            answer_ids = self._chat.response_ids(answer)
        answered = bool(self._chat.decode(answer_ids).strip())
        return Parts(self._chat.decode_marked(thought_ids), thought_ids, answer_ids if answered else None)

    def _tokens_up_to_mark(self, ids: Ids) -> int:
        """The fewest tokens whose text has the closing mark."""
        low, high = 1, len(ids)
        while low < high:
            middle = (low + high) // 2
            if self._marks.closing in self._chat.decode_marked(ids[:middle]):
                high = middle
            else:
                low = middle + 1
        return low

    def _is_begun(self) -> bool:
        try:
            asked = self._chat.render(_ASKED, for_generation=True)
        except InputError:
            return False
        end = asked.casefold().rpartition(QUESTION)[2]
        opening, closing = (mark.casefold() for mark in self._marks[:2])
        return end.rfind(opening) > end.rfind(closing)


def thoughts_of(chat: ChatFormat) -> Thoughts | None:
    """How the model with this tokenizer and template thinks; None if nothing says that it does.

    The marks in a template count more than those in a vocabulary, which may be that of several models.
    """
    vocabulary = chat.vocabulary
    in_template = [m for m in MARKS if m.opening in chat.template or m.closing in chat.template]
    in_vocabulary = [m for m in MARKS if all(token in vocabulary for token in m.tokens)]
    for marks in (*in_template, *in_vocabulary):
        places = {_TEMPLATE: in_template, "vocabulary": in_vocabulary}
        return Thoughts(chat, marks, tuple(place for place, found in places.items() if marks in found))
    return None


def off_switch(chat: ChatFormat) -> dict[str, bool] | None:
    """The template's variable that keeps the model from thinking; None if the template knows none."""
    for name in SWITCHES:
        try:
            off, on = (
                chat.with_variables({name: value}).render(_ASKED, for_generation=True)
                for value in (False, True)
            )
        except InputError:
            continue
        if off != on:
            return {name: False}
    return None
