"""Small models as `save_pretrained` writes them, made once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

SIZES = {
    "vocab_size": 96, "max_position_embeddings": 64, "hidden_size": 32, "intermediate_size": 48,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 4,
    "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_embd": 32, "n_layer": 2,
    "n_head": 4, "n_positions": 64, "ffn_dim": 48, "word_embed_proj_dim": 32, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip


def save(
    directory: Path, model_type: str, *, classifier: bool = False, shard: str = "5GB", **config: Any
) -> Path:
    """A model with random weights; settings that its config does not have are left out."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    known = AutoConfig.for_model(model_type).to_dict()
    settings = {name: size for name, size in SIZES.items() if name in known}
    made = AutoConfig.for_model(model_type, **settings, **{"num_labels": 1, **config})
    kind = AutoModelForSequenceClassification if classifier else AutoModelForCausalLM
    kind.from_config(made).save_pretrained(directory, max_shard_size=shard)
    return directory


def edit(path: Path, **changes: Any) -> None:
    """Set fields of a JSON object in a file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture(scope="session")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        "policy": save(root / "policy", "llama", tie_word_embeddings=False),
        "tied": save(root / "tied", "llama", tie_word_embeddings=True),
        "reward": save(root / "reward", "llama", classifier=True),
        "sharded": save(root / "sharded", "llama", tie_word_embeddings=False, shard="12KB"),
    }


def _copied(name: str) -> Any:
    @pytest.fixture(name=name)
    def copy(_whole: dict[str, Path], tmp_path: Path) -> Path:
        return shutil.copytree(_whole[name], tmp_path / name)

    return copy


# Each test gets its own copy, which it may change.
policy = _copied("policy")  # an untied Llama
tied = _copied("tied")  # a Llama whose head is its embedding
reward = _copied("reward")  # a Llama with a head of one label
sharded = _copied("sharded")  # `policy` in several files with an index
