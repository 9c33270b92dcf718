"""Finds what a chat template and a tokenizer put around an answer, from a conversation with a known one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from figa_core.chat.tokenization import control_token_ids
from figa_core.errors import ConfigError, InputError
from figa_core.records import Message

Ids = tuple[int, ...]
Render = Callable[[Sequence[Message]], str]
Encode = Callable[[Sequence[str]], list[Ids]]

ANCHOR = "\n"
ANSWER = "figaanswer"
QUESTION = "figaquestion"


@dataclass(frozen=True, slots=True)
class Turn:
    """Around an assistant's answer.

    Attributes:
        end_of_turn_ids: ids after it, up to the first on which generation stops.
        stop_token_ids: every id on which generation stops, ascending.
        anchor_ids: ids of `ANCHOR` if responses are tokenized after it; empty if they are tokenized alone.
    """

    end_of_turn_ids: Ids
    stop_token_ids: Ids
    anchor_ids: Ids


class TurnReader:
    """Reads the `Turn` of one tokenizer and its template.

    `render` returns the template's text of whole conversations, `encode` the ids of rendered texts, and
    `encode_text` the ids of texts in which control-token strings are plain text.
    """

    def __init__(self, tokenizer: Any, render: Render, encode: Encode, encode_text: Encode) -> None:
        self._tokenizer = tokenizer
        self._render, self._encode, self._encode_text = render, encode, encode_text

    def read(self, stops: frozenset[int]) -> Turn:
        """The turn; `stops` are the ids that are known to stop generation.

        Raises:
            ConfigError: the template cannot render a question and an answer.
        """
        before, after = self._around_answer()
        end = self._end_of_turn(before, after, stops)
        return Turn(end, tuple(sorted(stops | {end[-1]})), self._anchor(before))

    def _around_answer(self) -> tuple[str, str]:
        """A rendered conversation up to the end of a known answer, and what the template puts after it."""
        messages = [Message("user", "hi"), Message("assistant", ANSWER)]
        try:
            rendered = self._render(messages)
        except InputError as error:
            name = self._tokenizer.name_or_path or "tokenizer"
            raise ConfigError(f"{name}: cannot render a question and an answer: {error}") from error
        before, found, after = rendered.rpartition(ANSWER)
        return (before + found, after) if found else (rendered, "")

    def _end_of_turn(self, before: str, after: str, stops: frozenset[int]) -> Ids:
        ids, eos = self._ids_after(before, after), self._tokenizer.eos_token_id
        return (
            _up_to_first(ids, stops)
            # The model's configuration may not name the stop with which the template ends its turn.
            or _up_to_first(ids, control_token_ids(self._tokenizer))
            # Nothing may end the last turn, but a stop may begin the next one (GLM's <|user|>).
            or _up_to_first(self._ids_before_next_question(), stops)
            # The template may end its turn with plain text or nothing: then the tokenizer's end token does.
            or (min(stops) if eos is None else eos,)
        )

    def _ids_before_next_question(self) -> Ids:
        messages = [Message("user", "hi"), Message("assistant", ANSWER), Message("user", QUESTION)]
        try:
            rendered = self._render(messages)
        except InputError:
            return ()
        before, found, after = rendered.partition(QUESTION)[0].rpartition(ANSWER)
        return self._ids_after(before + found, after) if found else ()

    def _ids_after(self, before: str, after: str) -> Ids:
        """Ids of `after` as it follows `before`: alone it might get a leading space."""
        head, whole = self._encode([before, before + after])
        return whole[len(head) :] if whole[: len(head)] == head else self._encode([after])[0]

    def _anchor(self, before: str) -> Ids:
        """Ids of the anchor, or none if responses are tokenized alone.

        A tokenizer may put a space before a text. If the template has none between its text and the answer,
        responses are tokenized after an anchor instead, which takes the space.
        """
        (in_context,) = self._encode([before])
        alone, anchor, anchored = self._encode_text([ANSWER, ANCHOR, ANCHOR + ANSWER])
        behind = anchored[len(anchor) :]
        if in_context[-len(alone) :] == alone or anchored[: len(anchor)] != anchor:
            return ()
        return anchor if in_context[-len(behind) :] == behind else ()


def _up_to_first(ids: Ids, stops: frozenset[int]) -> Ids:
    """`ids` up to and including the first that is in `stops`; empty if none is."""
    found = next((i for i, token_id in enumerate(ids) if token_id in stops), None)
    return () if found is None else ids[: found + 1]
