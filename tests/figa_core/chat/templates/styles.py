"""Chat templates in the styles of well-known models, each with the important properties of its tokenizer.

The templates beside this file are written in the style of those models, not copied from them. The tokenizers
are small BPEs trained on one line, with the spaces, control tokens and stops of the real ones.
"""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from figa_core.chat.format import ChatFormat
from figa_core.chat.turn import Ids
from figa_core.records import Message

Spaces = Literal["bytes", "prepended", "first", "always", "kept"]
"""How a tokenizer treats the spaces of a text:

* bytes: byte-level BPE, a space is a byte (Llama 3, Qwen).
* prepended: SentencePiece with byte fallback; ▁ goes before every stretch between control tokens, even before
  a space (Llama 2, Mistral v1, Zephyr, Phi 3).
* always: the same, but not before a space.
* first: ▁ goes before the first stretch only (Mistral v3).
* kept: SentencePiece that adds nothing (Gemma).
"""

LINE = "where is my lamp? it is on its way. the system asked: any user news, assistant?"
_BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


class Style(NamedTuple):
    """A template and its tokenizer.

    Attributes:
        spaces: how the tokenizer treats spaces.
        control: the control tokens besides BOS and `eos`; one with a `~` swallows the whitespace after it.
        bos: the token that the tokenizer's post-processor puts before every text.
        eos: ``tokenizer.eos_token``.
        stops: the other stops in generation_config.json.
        end: the end of turn.
        before_answer: what the template puts between the generation prompt and a plain answer.
        prompt_only: the end of the generation prompt, if the history does not show it.
        after_end: the tokens that the template puts after the end of turn.
        system: whether it accepts a system message.
        trims: whether it trims an answer.
        template: the file name, if it is not the style's name.
    """

    spaces: Spaces
    control: tuple[str, ...]
    bos: str | None
    eos: str
    stops: tuple[str, ...]
    end: tuple[str, ...]
    before_answer: str = ""
    prompt_only: str = ""
    after_end: tuple[str, ...] = ()
    system: bool = True
    trims: bool = False
    template: str = ""


_IM = ("<|im_start|>", "<|im_end|>")
_LLAMA_3 = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>")
_QWEN: dict[str, Any] = {
    "spaces": "bytes",
    "control": (*_IM, "<|endoftext|>"),
    "bos": None,
    "eos": "<|im_end|>",
    "stops": ("<|endoftext|>",),
    "end": ("<|im_end|>",),
    "after_end": ("Ċ",),
}
STYLES = {
    "chatml": Style("bytes", _IM, None, "<|im_end|>", (), ("<|im_end|>",), after_end=("Ċ",)),
    "chatml-sentencepiece": Style(
        "prepended",
        _IM,
        "<s>",
        "<|im_end|>",
        (),
        ("<|im_end|>",),
        after_end=("▁", "<0x0A>"),
        template="chatml",
    ),
    "qwen-2.5": Style(**_QWEN),
    "qwen-3": Style(**_QWEN, before_answer="<think>\n\n</think>\n\n"),
    "qwen-3-not-thinking": Style(**_QWEN, prompt_only="<think>\n\n</think>\n\n"),
    "deepseek-r1": Style(
        "bytes", ("<|User|>", "<|Assistant|>"), "<s>", "</s>", (), ("</s>",), prompt_only="<think>\n"
    ),
    "llama-2": Style("prepended", (), "<s>", "</s>", (), ("▁", "</s>"), trims=True),
    "llama-3": Style(
        "bytes", _LLAMA_3, "<s>", "</s>", ("<|eom_id|>", "<|eot_id|>"), ("<|eot_id|>",), trims=True
    ),
    "llama-3.1": Style("bytes", _LLAMA_3, "<s>", "<|eot_id|>", ("</s>",), ("<|eot_id|>",), trims=True),
    "mistral-v1": Style("prepended", (), "<s>", "</s>", (), ("</s>",), system=False),
    "mistral-v3": Style("first", ("[INST]", "[/INST]"), "<s>", "</s>", (), ("</s>",), trims=True),
    "gemma": Style(
        "kept",
        ("<start_of_turn>", "<end_of_turn>"),
        "<s>",
        "</s>",
        ("<end_of_turn>",),
        ("<end_of_turn>",),
        after_end=("<0x0A>",),
        system=False,
        trims=True,
    ),
    "zephyr": Style("prepended", (), "<s>", "</s>", (), ("</s>",), after_end=("▁", "<0x0A>")),
    "phi": Style(
        "prepended",
        ("<|system|>~", "<|user|>~", "<|assistant|>~", "<|end|>~", "<|endoftext|>"),
        "<s>",
        "<|endoftext|>",
        ("<|end|>",),
        ("<|end|>",),
        after_end=("<|endoftext|>",),
    ),
    "glm": Style(
        "bytes",
        ("[gMASK]", "<sop>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"),
        None,
        "<|endoftext|>",
        ("<|user|>",),
        ("<|user|>",),
    ),
}


def template_text(name: str) -> str:
    """The Jinja text of `name`."""
    return Path(__file__).with_name(f"{name}.jinja").read_text(encoding="utf-8")


def tokenizer_for(style: Style, template: str | None) -> Any:
    """A tokenizer like those of this style's models."""
    core = Tokenizer.from_str(_trained(style.spaces))
    special = dict.fromkeys(("<s>", "</s>", *style.control))
    core.add_special_tokens([_control_token(token) for token in special])
    core.add_tokens(["<think>", "</think>"])  # ordinary added tokens, as Qwen's are
    if style.bos is not None:
        bos_id = core.token_to_id(style.bos)
        core.post_processor = processors.TemplateProcessing(
            single=f"{style.bos} $A", special_tokens=[(style.bos, bos_id)]
        )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=style.bos, eos_token=style.eos)
    tokenizer.chat_template = template
    return tokenizer


def chat_format(name: str, **changes: Any) -> ChatFormat:
    """The chat format of a style, with some of its fields changed."""
    style = STYLES[name]._replace(**changes)
    tokenizer = tokenizer_for(style, template_text(style.template or name))
    return ChatFormat.from_tokenizer(
        tokenizer, stop_token_ids=tokenizer.convert_tokens_to_ids([*style.stops])
    )


def plain_format(spaces: Spaces, template: str) -> ChatFormat:
    """A chat format whose only control tokens are ``<s>`` and ``</s>``."""
    style = Style(spaces, (), None, "</s>", (), ())
    return ChatFormat.from_tokenizer(tokenizer_for(style, template))


def prompt_ids(chat: ChatFormat, messages: Sequence[Message]) -> Ids:
    """The ids of one prompt, which the template must accept."""
    [ids] = chat.prompt_ids_or_reasons([messages])
    assert not isinstance(ids, str), ids
    return ids


def conversation_ids(chat: ChatFormat, messages: Sequence[Message], answer: str) -> Ids:
    """The ids of one answered prompt, which the template must accept."""
    [ids] = chat.conversation_ids_or_reasons([(messages, answer)])
    assert not isinstance(ids, str), ids
    return ids


def tokens(chat: ChatFormat, ids: Ids) -> list[str]:
    """The tokens of the vocabulary with these ids."""
    return chat._tokenizer.convert_ids_to_tokens(list(ids))


def ids_of(chat: ChatFormat, *names: str) -> Ids:
    """The ids of these tokens."""
    ids = chat._tokenizer.convert_tokens_to_ids(list(names))
    assert None not in ids, names
    return tuple(ids)


def _control_token(name: str) -> AddedToken:
    return AddedToken(name.removesuffix("~"), special=True, normalized=False, rstrip=name.endswith("~"))


@cache
def _trained(spaces: Spaces) -> str:
    core = Tokenizer(models.BPE())
    if spaces == "bytes":
        core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        core.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        core.train_from_iterator([LINE] * 3, trainer)
        return core.to_str()
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    core.train_from_iterator([LINE] * 3, trainers.BpeTrainer(vocab_size=90, show_progress=False))
    # Bytes for what is not in the vocabulary; the trainer does not add them.
    definition = json.loads(core.to_str())
    vocabulary = definition["model"]["vocab"]
    vocabulary |= {token: len(vocabulary) + i for i, token in enumerate(_BYTES)}
    definition["model"]["byte_fallback"] = True
    core = Tokenizer.from_str(json.dumps(definition))
    replace = normalizers.Replace(" ", "▁")
    if spaces == "prepended":
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace])
    elif spaces == "kept":
        core.normalizer = replace
    schemes: dict[Spaces, Any] = {"first": "first", "always": "always"}
    core.pre_tokenizer = (
        pre_tokenizers.Metaspace(prepend_scheme=schemes[spaces], split=False) if spaces in schemes else None
    )  # type: ignore[assignment]
    back = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    core.decoder = decoders.Sequence(back if spaces == "kept" else [*back, decoders.Strip(" ", 1, 0)])
    return core.to_str()
