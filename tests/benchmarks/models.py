"""Models with random weights, saved as Hugging Face directories: speed does not depend on the weights."""

from dataclasses import dataclass
from pathlib import Path

PAD_ID, END_ID = 0, 1


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a Llama with tied embeddings."""

    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    intermediate: int

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads


CPU_SHAPE = Shape(hidden=384, layers=8, heads=6, key_value_heads=6, intermediate=1024)
CUDA_SHAPE = Shape(hidden=2048, layers=16, heads=32, key_value_heads=8, intermediate=8192)
SMOLLM_SHAPE = Shape(hidden=576, layers=30, heads=9, key_value_heads=3, intermediate=1536)
"""SmolLM-135M's."""
SMOLLM_VOCABULARY = 49_152
QUICK_SHAPE = Shape(hidden=64, layers=2, heads=2, key_value_heads=2, intermediate=128)


def save_random_model(directory: Path, shape: Shape, vocabulary: int) -> None:
    """Write config, weights and a tokenizer, which only TRL needs."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):  # a billion random numbers
        model = LlamaForCausalLM(config)
    model.save_pretrained(directory)
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # the contenders' processes need the memory
    _save_tokenizer(directory)


def _save_tokenizer(directory: Path) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PAD_ID, "<end>": END_ID}
    core = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    tokenizer.save_pretrained(directory)
