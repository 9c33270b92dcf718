"""From chat messages to token ids and back, in one place, so that every stage sees the same ids.

A training sequence is ``prompt_ids + response_ids + end_of_turn_ids``. The prompt is the chat template's
rendering with its generation prompt; the response is tokenized by itself and appended, so that the prompt
is an exact prefix by construction. The end of turn is what the template puts after an assistant message, up
to and including the first token on which generation stops (often not ``tokenizer.eos_token``).

Decisions, each with a test:

* BOS is only where the template prints it, as in the chat APIs of transformers and vLLM.
* A tokenizer that puts a space before a text (SentencePiece's) does so for a response only if the template
  does: after ``[/INST]`` yes, after ``assistant`` and a newline no. Otherwise every response would begin with
  a token that the model does not write there.
* Control-token strings in a response are plain text. In a *prompt* they are the control tokens: a user's
  ``<|im_end|>`` ends the user's turn, as it does when transformers or vLLM render the same messages. Filter
  prompts from people you do not trust before you import them.
* A template that prints the current date gets a fixed one, so the same messages always have the same ids.
* If a response was cut within a character, that character is left out of its text.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from figa_core.chat.tokenization import (
    control_token_ids,
    encoder,
    hash_of,
    span_encoder,
    tokenizer_hash,
)
from figa_core.chat.turn import ANCHOR, ANSWER, QUESTION, Ids, TurnReader
from figa_core.errors import ConfigError, EngineError, InputError
from figa_core.models.adapter import with_all_files
from figa_core.models.tokenizer import generation_stops, load_tokenizer
from figa_core.records import TOOLS, Message

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""Used when a tokenizer has no chat template (a base model)."""

_DATE = datetime(2024, 7, 26)  # the default of Llama 3.1's template
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def load_chat_format(model_dir: Path, variables: Mapping[str, Any] | None = None) -> "ChatFormat":
    """Load tokenizer, chat template and stop tokens of a Hugging Face model directory; nothing is downloaded.

    Those of an adapter are its base model's, unless it has files of its own. `variables` are given to the
    template, such as enable_thinking.

    Raises:
        ConfigError: the directory, a usable tokenizer or a usable template is missing.
    """
    try:
        with with_all_files(model_dir) as directory:
            chat = ChatFormat.from_tokenizer(load_tokenizer(directory), generation_stops(directory))
            return chat.with_variables(variables) if variables else chat
    except EngineError as error:
        raise ConfigError(str(error)) from error


class ChatFormat:
    """One tokenizer with its chat template. Build it with `load_chat_format` or `from_tokenizer`.

    Attributes:
        end_of_turn_ids, stop_token_ids: see `Turn`.
        tokenizer_hash: SHA-256 of the tokenizer's whole definition.
        template_hash: SHA-256 of the template's text, the special tokens it may print and the end of turn.
        fallback_template: whether the tokenizer has no template, and `PLAIN_TEMPLATE` is used.
        template: the template's Jinja text.
        variables: what the template gets besides the messages. They are in no hash here.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str,
        stop_token_ids: Iterable[int],
        *,
        fallback: bool,
        variables: Mapping[str, Any] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self.template = template
        self.variables = dict(variables or {})
        self.fallback_template = fallback
        self._encode_template = encoder(tokenizer, control_tokens_as_text=False)
        self._encode_text = encoder(tokenizer, control_tokens_as_text=True)
        turn = TurnReader(
            tokenizer,
            lambda messages: self.render(messages, for_generation=False),
            self._encode_template,
            self._encode_text,
        ).read(frozenset(stop_token_ids))
        self.end_of_turn_ids, self.stop_token_ids = turn.end_of_turn_ids, turn.stop_token_ids
        self._anchor_ids = turn.anchor_ids
        self.tokenizer_hash = tokenizer_hash(tokenizer)
        self.template_hash = hash_of(template, tokenizer.special_tokens_map, self.end_of_turn_ids)

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, stop_token_ids: Iterable[int] = ()) -> "ChatFormat":
        """Wrap a transformers tokenizer; its ``eos_token`` stops generation, as do `stop_token_ids`.

        Raises:
            ConfigError: no token is known to stop generation, or the chat template cannot render a question
                and an answer.
        """
        stops = set(stop_token_ids)
        if tokenizer.eos_token_id is not None:
            stops.add(tokenizer.eos_token_id)
        if not stops:
            raise ConfigError(
                f"{tokenizer.name_or_path or 'tokenizer'}: has no eos_token and generation_config.json names "
                "no eos_token_id, so nothing would end a response. Set one of the two."
            )
        fallback = not tokenizer.chat_template
        try:
            template = PLAIN_TEMPLATE if fallback else tokenizer.get_chat_template()
        except ValueError as error:  # several named templates without a default
            raise ConfigError(
                f"{tokenizer.name_or_path or 'tokenizer'}: {_in_words(error)}. Name one template default."
            ) from error
        return cls(tokenizer, template, stops, fallback=fallback)

    def with_template(self, template: str) -> "ChatFormat":
        """The same tokenizer with another chat template."""
        return ChatFormat(
            self._tokenizer, template, self.stop_token_ids, fallback=False, variables=self.variables
        )

    def with_variables(self, variables: Mapping[str, Any]) -> "ChatFormat":
        """The same with these variables for the template, besides those that it has."""
        both = {**self.variables, **variables}
        stops, fallback = self.stop_token_ids, self.fallback_template
        return ChatFormat(self._tokenizer, self.template, stops, fallback=fallback, variables=both)

    def added_tokens(self, base: "ChatFormat") -> int:
        """How many tokens more than in `base` a plain question has with this template; 0 if not more."""
        question = [[Message("user", QUESTION)]]
        (ours,), (theirs,) = (chat.prompt_ids_or_reasons(question) for chat in (self, base))
        return 0 if isinstance(ours, str) or isinstance(theirs, str) else max(0, len(ours) - len(theirs))

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token of the tokenizer, added ones included, with its id."""
        return self._tokenizer.get_vocab()

    @property
    def control_tokens(self) -> frozenset[str]:
        """The texts of the tokens that are not text, such as ``<|im_end|>``."""
        return frozenset(self._tokenizer.convert_ids_to_tokens(sorted(control_token_ids(self._tokenizer))))

    @property
    def text_stops(self) -> list[str]:
        """Those of the stop tokens that are ordinary pieces of text."""
        named = control_token_ids(self._tokenizer) | self._tokenizer.added_tokens_decoder.keys()
        return [
            token for token, token_id in self.vocabulary.items() if token_id in {*self.stop_token_ids} - named
        ]

    def prompt_ids_or_reasons(self, conversations: Sequence[Sequence[Message]]) -> list[Ids | str]:
        """The ids of each conversation up to the answer, generation prompt included, or why there are none.

        Raises nothing.
        """
        return self._ids_or_reasons(conversations, for_generation=True)

    def response_ids(self, text: str) -> Ids:
        """Ids of a response as it follows a prompt: no BOS, no end of turn, control-token strings as text."""
        return self.response_ids_batch([text])[0]

    def response_ids_batch(self, texts: Sequence[str]) -> list[Ids]:
        """`response_ids` of many texts."""
        if not self._anchor_ids:
            return self._encode_text(texts)
        return [
            self._behind_anchor(ids) or self._encode_text([text])[0]
            for text, ids in zip(texts, self._encode_text([ANCHOR + text for text in texts]), strict=True)
        ]

    def template_ids(self, text: str) -> Ids:
        """Ids of a text in which control-token strings are the control tokens."""
        return self._encode_template([text])[0]

    def response_spans(self, text: str) -> list[tuple[int, int]]:
        """The place of each token of `response_ids(text)`, as (start, end) in characters of `text`.

        A token that is part of a character has the place of the whole character; one that stands for nothing
        in the text, such as a space that the tokenizer puts before it, has an empty place.
        """
        count = len(self._anchor_ids)
        if count and self._behind_anchor(self._encode_text([ANCHOR + text])[0]):
            shift = len(ANCHOR)
            return [(max(a - shift, 0), max(b - shift, 0)) for a, b in self._spans(ANCHOR + text)[count:]]
        return self._spans(text)

    def without_end_of_turn(self, generated_ids: Sequence[int]) -> Ids:
        """Ids generated up to a stop token (not included), without the rest of the end of turn.

        An end of turn may be more than its stop token (Llama 2's is a space and ``</s>``); the tokens before
        the stop are not part of the answer. Not for a response that was cut by length.
        """
        ids, lead = tuple(generated_ids), self.end_of_turn_ids[:-1]
        return ids[: -len(lead)] if lead and ids[-len(lead) :] == lead else ids

    def conversation_ids_or_reasons(
        self, conversations: Sequence[tuple[Sequence[Message], str]]
    ) -> list[Ids | str]:
        """The ids of each (messages, answer) as one rendered conversation, or why there are none.

        A reward model reads them. As in a prompt, and unlike in `response_ids`, control-token strings are the
        control tokens. Raises nothing.
        """
        whole = [(*messages, Message("assistant", answer)) for messages, answer in conversations]
        return self._ids_or_reasons(whole, for_generation=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without control tokens and a character that is cut at the end."""
        text = self._decode((*self._anchor_ids, *ids))
        if self._anchor_ids:
            text = text.removeprefix(ANCHOR)
        if text.endswith(_REPLACEMENT) and self.response_ids(text) != tuple(ids):
            return text.rstrip(_REPLACEMENT)  # part of a character, not a U+FFFD that the model wrote
        return text

    def decode_marked(self, ids: Sequence[int]) -> str:
        """Text of generated ids, with the names of control tokens."""
        return self._decode(ids, control_tokens=True)

    def render(self, messages: Sequence[Message], *, for_generation: bool) -> str:
        """The template's text for these messages.

        Raises:
            InputError: the template refuses them (an unknown role, roles out of order, no message), or fails.
        """
        tools, turns = _without_tools(messages)
        try:
            return self._tokenizer.apply_chat_template(
                [message.as_dict() for message in turns],
                tools=tools,
                chat_template=self.template,
                add_generation_prompt=for_generation,
                tokenize=False,
                **{"strftime_now": _DATE.strftime, **self.variables},
            )
        except Exception as error:  # a template is a program: it may raise anything
            roles = ", ".join(message.role for message in messages) or "none"
            raise InputError(
                f"the chat template refuses these messages: {_in_words(error)} (roles: {roles})"
            ) from error

    def _ids_or_reasons(
        self, conversations: Sequence[Sequence[Message]], *, for_generation: bool
    ) -> list[Ids | str]:
        texts: list[str] = []
        refused: dict[int, str] = {}
        for index, messages in enumerate(conversations):
            try:
                texts.append(self.render(messages, for_generation=for_generation))
            except InputError as error:
                refused[index] = str(error)
        encoded = iter(self._encode_or_reasons(texts))
        return [refused[i] if i in refused else next(encoded) for i in range(len(conversations))]

    def _encode_or_reasons(self, texts: Sequence[str]) -> list[Ids | str]:
        try:
            return [*self._encode_template(texts)]
        except Exception as error:  # a tokenizer refuses half a surrogate pair, for example
            if len(texts) == 1:
                return [f"the tokenizer refuses this text: {_in_words(error)}"]
        return [outcome for text in texts for outcome in self._encode_or_reasons([text])]

    def shown(self) -> tuple[bool, bool]:
        """Whether the prompt shows a question, and the conversation that is rated an answer."""
        question, answer = Message("user", QUESTION), Message("assistant", ANSWER)
        prompt = self.render([question], for_generation=True)
        conversation = self.render([question, answer], for_generation=False)
        return QUESTION in prompt.casefold(), ANSWER in conversation.casefold()

    def unasked(self) -> str:
        """What a template that has no generation prompt puts between a question and its answer, if more than
        white space: the model would have to write it, and a training would leave it out.
        """
        question, answer = Message("user", QUESTION), Message("assistant", ANSWER)
        prompt = self.render([question], for_generation=True)
        if prompt != self.render([question], for_generation=False):
            return ""
        before = self.render([question, answer], for_generation=False).rpartition(ANSWER)[0]
        return before.removeprefix(prompt).strip() if before.startswith(prompt) else ""

    def _decode(self, ids: Sequence[int], *, control_tokens: bool = False) -> str:
        try:
            return self._decode_known(ids, control_tokens=control_tokens)
        except (ValueError, OverflowError, LookupError):
            # An embedding may have more rows than there are tokens, and a model may sample one of these ids.
            # The Rust core leaves them out of the text; Python tokenizers raise.
            tokens = frozenset(self.vocabulary.values())
            known = [token_id for token_id in ids if token_id in tokens]
            return self._decode_known(known, control_tokens=control_tokens)

    def _decode_known(self, ids: Sequence[int], *, control_tokens: bool) -> str:
        return self._tokenizer.decode(
            list(ids), skip_special_tokens=not control_tokens, clean_up_tokenization_spaces=False
        )

    @cached_property
    def _spans(self) -> Any:
        """Made when it is first used, because it copies the tokenizer."""
        return span_encoder(self._tokenizer)

    def _behind_anchor(self, ids: Ids) -> Ids:
        """The ids after the anchor; none if a token spans its end."""
        count = len(self._anchor_ids)
        return ids[count:] if ids[:count] == self._anchor_ids else ()


def _without_tools(messages: Sequence[Message]) -> tuple[list[Any] | None, Sequence[Message]]:
    """The tools of a conversation, and its turns."""
    if messages and messages[0].role == TOOLS:
        return json.loads(messages[0].content), messages[1:]
    return None, messages


def _in_words(error: Exception) -> str:
    """A library's error on one line, with its type unless it comes from the template."""
    from jinja2 import TemplateError

    words = " ".join(str(error).split())
    return words if words and isinstance(error, TemplateError) else f"{type(error).__name__}: {words}"
