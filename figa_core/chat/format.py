"""From chat messages to token ids and back, in one place, so that every stage sees the same ids.

A training sequence is ``prompt_ids + response_ids + end_of_turn_ids``. The prompt is the chat template's
rendering with its generation prompt; the response is tokenized by itself and appended, so that the prompt
is an exact prefix by construction. The end of turn is what the template puts after an assistant message, up
to and including the first token on which generation stops (often not ``tokenizer.eos_token``).

Settled here, each with a test:

* BOS is where the template prints it and nowhere else, as in transformers' and vLLM's chat APIs.
* A tokenizer that puts a space before a text (SentencePiece's) does so for a response only where the template
  does: after ``[/INST]`` yes, after ``assistant`` and a newline no. Otherwise every response would begin with
  a token that the model does not write there.
* Control-token strings in a response are plain text. In a *prompt* they are the control tokens: a user's
  ``<|im_end|>`` ends the user's turn, exactly as when the same messages go through transformers or vLLM.
  Prompts from people one does not trust need filtering before they are imported.
* A template that prints the day's date gets a fixed one: the same messages have the same ids on every day.
* If a cut response holds only the first bytes of a character, the character is left out of its text.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from figa_core.chat.tokenization import encoder, hash_of, tokenizer_hash
from figa_core.chat.turn import ANCHOR, ANSWER, QUESTION, Ids, TurnReader
from figa_core.errors import ConfigError, InputError
from figa_core.models.tokenizer import generation_stops, load_tokenizer
from figa_core.records import Message

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""Used when a tokenizer has no chat template (a base model)."""

_DATE = datetime(2024, 7, 26)  # what Llama 3.1's template prints where it is told no date
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def load_chat_format(model_dir: Path) -> "ChatFormat":
    """Load tokenizer, chat template and stop tokens of a Hugging Face model directory; nothing is downloaded.

    Raises:
        ConfigError: there is no such directory, no tokenizer in it that encodes a sentence, or a template
            that cannot be used.
    """
    tokenizer = load_tokenizer(model_dir)
    return ChatFormat.from_tokenizer(tokenizer, stop_token_ids=generation_stops(model_dir))


class ChatFormat:
    """One tokenizer with its chat template. Build it with `load_chat_format` or `from_tokenizer`.

    Attributes:
        end_of_turn_ids: ids after an assistant message, up to the first on which generation stops.
        stop_token_ids: every id on which generation stops, ascending.
        tokenizer_hash: SHA-256 of the tokenizer's whole definition.
        template_hash: SHA-256 of the template's text, the special tokens it may print and the end of turn.
        fallback_template: whether `PLAIN_TEMPLATE` replaces a missing one.
        template: the template's Jinja text.
    """

    def __init__(
        self, tokenizer: Any, template: str, stop_token_ids: Iterable[int], *, fallback: bool
    ) -> None:
        self._tokenizer = tokenizer
        self.template = template
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
        """Wrap a transformers tokenizer; its ``eos_token`` stops generation besides `stop_token_ids`.

        Raises:
            ConfigError: no token is known on which generation could stop, or the chat template cannot render
                a question and an answer.
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
        except ValueError as error:  # several templates by name, and none of them is the default
            raise ConfigError(
                f"{tokenizer.name_or_path or 'tokenizer'}: {_in_words(error)}. Name one template default."
            ) from error
        return cls(tokenizer, template, stops, fallback=fallback)

    @property
    def vocabulary(self) -> dict[str, int]:
        """Every token of the tokenizer, added ones included, with its id."""
        return self._tokenizer.get_vocab()

    def prompt_ids(self, messages: Sequence[Message]) -> Ids:
        """Ids of the conversation up to the assistant's turn, generation prompt included.

        Raises:
            InputError: the template refuses these messages.
        """
        return self.prompt_ids_batch([messages])[0]

    def prompt_ids_batch(self, conversations: Sequence[Sequence[Message]]) -> list[Ids]:
        """`prompt_ids` of many conversations at once."""
        return self._encode_template(
            [self.render(messages, for_generation=True) for messages in conversations]
        )

    def prompt_ids_or_reasons(self, conversations: Sequence[Sequence[Message]]) -> list[Ids | str]:
        """`prompt_ids` of each conversation, or the reason why it has none; raises nothing."""
        return self._ids_or_reasons(conversations, for_generation=True)

    def response_ids(self, text: str) -> Ids:
        """Ids of a response as it follows a prompt: no BOS, no end of turn, control-token strings as text."""
        return self.response_ids_batch([text])[0]

    def response_ids_batch(self, texts: Sequence[str]) -> list[Ids]:
        """`response_ids` of many texts at once."""
        if not self._anchor_ids:
            return self._encode_text(texts)
        return [
            self._behind_anchor(ids) or self._encode_text([text])[0]
            for text, ids in zip(texts, self._encode_text([ANCHOR + text for text in texts]), strict=True)
        ]

    def without_end_of_turn(self, generated_ids: Sequence[int]) -> Ids:
        """Ids that were generated up to a stop token (not included), without the rest of the end of turn.

        Some end of turn is more than its stop token (Llama 2's is a space and ``</s>``), and what is
        before the stop is not part of the answer. Not for a response that was cut by length.
        """
        ids, lead = tuple(generated_ids), self.end_of_turn_ids[:-1]
        return ids[: -len(lead)] if lead and ids[-len(lead) :] == lead else ids

    def conversation_ids(self, messages: Sequence[Message], answer_text: str) -> Ids:
        """Ids of prompt and answer as one rendered conversation: what a reward model reads.

        As in a prompt, and unlike in `response_ids`, control-token strings are the control tokens.

        Raises:
            InputError: the template refuses these messages.
        """
        return self.conversation_ids_batch([(messages, answer_text)])[0]

    def conversation_ids_batch(self, conversations: Sequence[tuple[Sequence[Message], str]]) -> list[Ids]:
        """`conversation_ids` of many (messages, answer) at once."""
        rendered = [
            self.render([*messages, Message("assistant", answer)], for_generation=False)
            for messages, answer in conversations
        ]
        return self._encode_template(rendered)

    def conversation_ids_or_reasons(
        self, conversations: Sequence[tuple[Sequence[Message], str]]
    ) -> list[Ids | str]:
        """`conversation_ids` of each (messages, answer), or the reason why it has none; raises nothing."""
        whole = [(*messages, Message("assistant", answer)) for messages, answer in conversations]
        return self._ids_or_reasons(whole, for_generation=False)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids; control tokens and a character cut off at the end are left out."""
        text = self._decode((*self._anchor_ids, *ids))
        if self._anchor_ids:
            text = text.removeprefix(ANCHOR)
        if text.endswith(_REPLACEMENT) and self.response_ids(text) != tuple(ids):
            return text.rstrip(_REPLACEMENT)  # half a character, not a U+FFFD that the model wrote
        return text

    def decode_batch(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """`decode` of many sequences."""
        return [self.decode(ids) for ids in sequences]

    def render(self, messages: Sequence[Message], *, for_generation: bool) -> str:
        """The template's text for these messages.

        Raises:
            InputError: the template refuses them (a role it does not know, roles out of order, no message),
                or fails on them (a template is a program: it may divide by zero).
        """
        try:
            return self._tokenizer.apply_chat_template(
                [message.as_dict() for message in messages],
                chat_template=self.template,
                add_generation_prompt=for_generation,
                tokenize=False,
                strftime_now=_DATE.strftime,
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
        """Whether a question can be read in the prompt, and an answer in the conversation that is rated."""
        question, answer = Message("user", QUESTION), Message("assistant", ANSWER)
        prompt = self.render([question], for_generation=True)
        conversation = self.render([question, answer], for_generation=False)
        return QUESTION in prompt.casefold(), ANSWER in conversation.casefold()

    def _decode(self, ids: Sequence[int]) -> str:
        try:
            return self._decode_known(ids)
        except (ValueError, OverflowError, LookupError):
            # An embedding may have more rows than there are tokens, and a model may sample one of those. The
            # Rust core leaves them out of the text; tokenizers in Python raise.
            tokens = frozenset(self.vocabulary.values())
            return self._decode_known([token_id for token_id in ids if token_id in tokens])

    def _decode_known(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _behind_anchor(self, ids: Ids) -> Ids:
        """What follows the anchor; nothing if a token spans its end."""
        count = len(self._anchor_ids)
        return ids[count:] if ids[:count] == self._anchor_ids else ()


def _in_words(error: Exception) -> str:
    """A library's error in one line; its type where the message alone says little."""
    from jinja2 import TemplateError

    words = " ".join(str(error).split())
    return words if words and isinstance(error, TemplateError) else f"{type(error).__name__}: {words}"
