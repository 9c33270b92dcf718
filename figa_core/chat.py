"""From chat messages to token ids and back, in one place, so that every stage sees the same ids.

A training sequence is ``prompt_ids + response_ids + end_of_turn_ids``. The prompt is the chat template's
rendering with its generation prompt; the response is tokenized by itself and appended, so that the prompt
is an exact prefix by construction. The end of turn is what the template puts after an assistant message, up
to and including the first token on which generation stops (often not ``tokenizer.eos_token``).
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from figa_core.errors import ConfigError, InputError
from figa_core.records import Message

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{{ eos_token if message['role'] == 'assistant' else '' }}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""Stands in where a tokenizer brings no chat template (a base model)."""

_SENTINEL = "figaanswer"


def load_chat_format(model_dir: Path) -> "ChatFormat":
    """Load tokenizer, chat template and stop tokens of a Hugging Face model directory; nothing is downloaded.

    Raises:
        ConfigError: there is no such directory, or no tokenizer in it.
    """
    if not model_dir.is_dir():
        raise ConfigError(
            f"{model_dir}: no such model directory. Give the path of a Hugging Face model directory."
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(model_dir), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{model_dir}: cannot load a tokenizer from it: {error}") from error
    return ChatFormat.from_tokenizer(tokenizer, stop_token_ids=_generation_stops(model_dir))


class ChatFormat:
    """One tokenizer with its chat template. Build it with `load_chat_format` or `from_tokenizer`.

    Attributes:
        end_of_turn_ids: ids after an assistant message, up to the first on which generation stops.
        stop_token_ids: every id on which generation stops, ascending.
        tokenizer_hash: SHA-256 of the tokenizer's whole definition.
        template_hash: SHA-256 of the template's text, the special tokens it may print and the end of turn.
        fallback_template: whether `PLAIN_TEMPLATE` stands in for a missing one.
        template: the template's Jinja text.
    """

    def __init__(
        self, tokenizer: Any, template: str, stop_token_ids: Iterable[int], *, fallback: bool
    ) -> None:
        self._tokenizer = tokenizer
        self.template = template
        self.fallback_template = fallback
        self._encode_template = _encoder(tokenizer, control_tokens_as_text=False)
        self._encode_text = _encoder(tokenizer, control_tokens_as_text=True)
        self.end_of_turn_ids, self.stop_token_ids = self._find_end_of_turn(frozenset(stop_token_ids))
        self.tokenizer_hash = _tokenizer_hash(tokenizer)
        self.template_hash = _hash(template, tokenizer.special_tokens_map, self.end_of_turn_ids)

    @classmethod
    def from_tokenizer(cls, tokenizer: Any, stop_token_ids: Iterable[int] = ()) -> "ChatFormat":
        """Wrap a transformers tokenizer; its ``eos_token`` stops generation besides `stop_token_ids`.

        Raises:
            ConfigError: no token is known on which generation could stop.
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
        template = PLAIN_TEMPLATE if fallback else tokenizer.get_chat_template()
        return cls(tokenizer, template, stops, fallback=fallback)

    def prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of the conversation up to the assistant's turn, generation prompt included.

        Raises:
            InputError: the template refuses these messages.
        """
        return self.prompt_ids_batch([messages])[0]

    def prompt_ids_batch(self, conversations: Sequence[Sequence[Message]]) -> list[tuple[int, ...]]:
        """`prompt_ids` of many conversations at once."""
        return self._encode_template(
            [self.render(messages, for_generation=True) for messages in conversations]
        )

    def response_ids(self, text: str) -> tuple[int, ...]:
        """Ids of a response by itself: no BOS, no end of turn, control-token strings as plain text."""
        return self.response_ids_batch([text])[0]

    def response_ids_batch(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """`response_ids` of many texts at once."""
        return self._encode_text(texts)

    def conversation_ids(self, messages: Sequence[Message], answer_text: str) -> tuple[int, ...]:
        """Ids of prompt and answer as one rendered conversation: what a reward model reads.

        Raises:
            InputError: the template refuses these messages.
        """
        return self.conversation_ids_batch([(messages, answer_text)])[0]

    def conversation_ids_batch(
        self, conversations: Sequence[tuple[Sequence[Message], str]]
    ) -> list[tuple[int, ...]]:
        """`conversation_ids` of many (messages, answer) at once."""
        rendered = [
            self.render([*messages, Message("assistant", answer)], for_generation=False)
            for messages, answer in conversations
        ]
        return self._encode_template(rendered)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids; control tokens are left out."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def decode_batch(self, sequences: Sequence[Sequence[int]]) -> list[str]:
        """`decode` of many sequences."""
        return [self.decode(ids) for ids in sequences]

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """One readable string per id, for reports; a token that is part of a character reads as U+FFFD."""
        return [self._tokenizer.decode([token_id], clean_up_tokenization_spaces=False) for token_id in ids]

    def render(self, messages: Sequence[Message], *, for_generation: bool) -> str:
        """The template's text for these messages.

        Raises:
            InputError: the template refuses them (a role it does not know, roles out of order, no message).
        """
        from jinja2 import TemplateError

        try:
            return self._tokenizer.apply_chat_template(
                [message.as_dict() for message in messages],
                chat_template=self.template,
                add_generation_prompt=for_generation,
                tokenize=False,
            )
        except (TemplateError, ValueError, TypeError) as error:
            roles = ", ".join(message.role for message in messages) or "none"
            raise InputError(f"the chat template refuses these messages (roles: {roles}): {error}") from error

    def _find_end_of_turn(self, stops: frozenset[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """End of turn and stop ids, learnt from how the template renders a known answer."""
        rendered = self.render([Message("user", "hi"), Message("assistant", _SENTINEL)], for_generation=False)
        _, found, suffix = rendered.rpartition(_SENTINEL)
        ids = self._encode_template([suffix])[0] if found and suffix else ()
        first_stop = next((i for i, token_id in enumerate(ids) if token_id in stops), None)
        if first_stop is None:
            # The template ends its turn on a token that the model's configuration forgot to name as a stop.
            special = frozenset(self._tokenizer.all_special_ids)
            first_stop = next((i for i, token_id in enumerate(ids) if token_id in special), None)
        if first_stop is not None:
            return ids[: first_stop + 1], tuple(sorted(stops | {ids[first_stop]}))
        # The template ends its turn with plain text or nothing: the tokenizer's own end token closes it.
        eos = self._tokenizer.eos_token_id
        return (min(stops) if eos is None else eos,), tuple(sorted(stops))


def _encoder(tokenizer: Any, *, control_tokens_as_text: bool) -> Any:
    """A function from texts to id tuples, adding no special tokens.

    It works on a copy of the tokenizer's Rust core, because truncation, padding and the treatment of control
    tokens are mutable state there, shared by everyone who holds the tokenizer.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:

        def encode_slowly(texts: Sequence[str]) -> list[tuple[int, ...]]:
            return [
                tuple(
                    tokenizer(text, add_special_tokens=False, split_special_tokens=control_tokens_as_text)[
                        "input_ids"
                    ]
                )
                for text in texts
            ]

        return encode_slowly

    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(core.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.encode_special_tokens = control_tokens_as_text

    def encode(texts: Sequence[str]) -> list[tuple[int, ...]]:
        if not texts:
            return []
        return [
            tuple(encoding.ids) for encoding in copy.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    return encode


def _generation_stops(model_dir: Path) -> set[int]:
    """``eos_token_id`` (one or a list) of generation_config.json, or of config.json where that is missing."""
    for name in ("generation_config.json", "config.json"):
        path = model_dir / name
        if not path.is_file():
            continue
        try:
            value = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid JSON: {error}") from error
        return set(value) if isinstance(value, list) else {value} if value is not None else set()
    return set()


def _tokenizer_hash(tokenizer: Any) -> str:
    core = getattr(tokenizer, "backend_tokenizer", None)
    if core is None:
        return _hash(type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.special_tokens_map)
    definition = json.loads(core.to_str())
    # Call-time state, not part of what the tokenizer is.
    definition.pop("truncation", None)
    definition.pop("padding", None)
    return _hash(definition)


def _hash(*values: object) -> str:
    body = json.dumps(values, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(body.encode()).hexdigest()
