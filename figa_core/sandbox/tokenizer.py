"""The sandbox's tokenizer: byte-level BPE trained on the world's text, with two chat templates.

`<|end|>` ends a turn and is not `tokenizer.eos_token`, as in many chat models; both stop a generation.
"""

import random
from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from figa_core.records import Message
from figa_core.sandbox.vocabulary import REFERENCE_STYLE, SLOT_VALUES, SYSTEM_TEXTS
from figa_core.sandbox.world import faulty_reply, good_reply, sample_facts, write_request

_BOS, _EOS, _PAD, _END_OF_TURN = "<|begin|>", "<|endoftext|>", "<|pad|>", "<|end|>"
_TURN_TOKENS = [_END_OF_TURN, "<|system|>", "<|user|>", "<|assistant|>"]

_TURNS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}AFTER{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_CHAT_TEMPLATE = _TURNS.replace("AFTER", "{{ '\\n' }}")
"""The base model's: a newline follows every turn, which no generation ever writes."""
REWARD_TEMPLATE = _TURNS.replace("AFTER", "")
"""The reward model's: a scored text ends with `<|end|>`."""


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on the world's text. It has the base model's chat template."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer_for(_texts(random.Random(f"tokenizer/{seed}")), split, _CHAT_TEMPLATE)


def tokenizer_for(
    texts: Iterator[str], split: pre_tokenizers.PreTokenizer, template: str, *, vocabulary: int = 1024
) -> PreTrainedTokenizerFast:
    """A byte-level BPE trained on `texts`, with this chat template; `split` divides a text before."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_PAD, _BOS, _EOS, *_TURN_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=_BOS,
        eos_token=_EOS,
        pad_token=_PAD,
        additional_special_tokens=_TURN_TOKENS,
        chat_template=template,
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )


def encode_example(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message], reply: str
) -> tuple[list[int], list[int]]:
    """Ids of the templated prompt, and of the reply with its end of turn."""
    reply_ids = tokenizer.backend_tokenizer.encode(reply).ids
    return encode_prompt(tokenizer, messages), [*reply_ids, end_of_turn_id(tokenizer)]


def encode_prompt(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message]) -> list[int]:
    """Ids of the templated prompt. Jinja is not used, because it is slow for so many examples."""
    turn_end = "\n" if tokenizer.chat_template == _CHAT_TEMPLATE else ""
    turns = "".join(f"<|{m.role}|>{m.content}{_END_OF_TURN}{turn_end}" for m in messages)
    return tokenizer.backend_tokenizer.encode(f"{_BOS}{turns}<|assistant|>").ids


def end_of_turn_id(tokenizer: PreTrainedTokenizerFast) -> int:
    return token_id(tokenizer.backend_tokenizer.token_to_id(_END_OF_TURN))


def token_id(value: object) -> int:
    """Narrow the several types that transformers declares for a token id to int."""
    assert isinstance(value, int), f"expected one token id, got {value!r}"
    return value


def _texts(rng: random.Random) -> Iterator[str]:
    # So often that every slot value becomes one token, however little room that leaves for the rest.
    yield from (f" {value}" for values in SLOT_VALUES.values() for value in values for _ in range(400))
    yield from SYSTEM_TEXTS
    for _ in range(3000):
        facts = sample_facts(rng)
        yield "\n".join(message.content for message in write_request(facts, rng))
        yield faulty_reply(facts, rng).text
        yield good_reply(sample_facts(rng), rng, REFERENCE_STYLE).text
