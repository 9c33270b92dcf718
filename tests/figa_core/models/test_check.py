"""A model is examined before anything is spent: valid ones pass, and the problems of others are named.

Every broken model here once loaded, on one engine or both: with random weights, with uninitialised memory, or
as another model than its files hold.
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core.errors import EngineError
from figa_core.models.check import examine, require_model
from figa_core.models.role import ModelRole
from tests.figa_core.models.conftest import edit, save

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
POLICY, REWARD = ModelRole.POLICY, ModelRole.REWARD


def problems(model: Path, role: ModelRole = POLICY) -> str:
    return "\n".join(examine(model, role).problems)


def change(model: Path, **weights: torch.Tensor | None) -> None:
    path = model / "model.safetensors"
    held = {**load_file(path), **{name.replace("__", "."): weight for name, weight in weights.items()}}
    save_file({name: weight for name, weight in held.items() if weight is not None}, path, {"format": "pt"})


@pytest.mark.parametrize("shard", ["5GB", "12KB"], ids=["one file", "shards"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize(
    "model_type",
    ["llama", "qwen3", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "phi", "opt", "falcon", "mixtral"],
)
def test_what_transformers_saves_passes(tmp_path: Path, model_type: str, tied: bool, shard: str) -> None:
    policy = save(tmp_path / "policy", model_type, shard=shard, tie_word_embeddings=tied)
    found = examine(policy, POLICY)
    assert found.problems == []
    assert found.vocabulary == 96
    assert "reward model" in problems(policy, REWARD)
    reward = save(tmp_path / "reward", model_type, shard=shard, tie_word_embeddings=tied, classifier=True)
    assert examine(reward, REWARD).problems == []
    assert "not a causal language model" in problems(reward)


def test_encoders_are_reward_models_too(tmp_path: Path) -> None:
    for model_type in ("bert", "roberta", "modernbert"):
        assert problems(save(tmp_path / model_type, model_type, classifier=True), REWARD) == ""


def test_weights_without_the_prefix_of_the_whole_model_are_found(tied: Path) -> None:
    held = load_file(tied / "model.safetensors")
    save_file(
        {name.removeprefix("model."): weight for name, weight in held.items()}, tied / "model.safetensors"
    )
    assert problems(tied) == ""


def test_weights_of_buffers_that_older_versions_saved_are_accepted(policy: Path) -> None:
    change(policy, model__layers__0__self_attn__rotary_emb__inv_freq=torch.ones(4))
    assert problems(policy) == ""


def test_a_model_of_seventy_billion_parameters_is_examined_by_its_headers(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "llama", hidden_size=8192, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8,
        intermediate_size=28672, vocab_size=128256, architectures=["LlamaForCausalLM"],
    )  # fmt: skip
    with torch.device("meta"):
        shapes = {name: w.shape for name, w in AutoModelForCausalLM.from_config(config).state_dict().items()}
    config.save_pretrained(tmp_path)
    header, end = {}, 0
    for name, shape in shapes.items():
        header[name] = {
            "dtype": "BF16",
            "shape": [*shape],
            "data_offsets": [end, end := end + 2 * shape.numel()],
        }
    body = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(body).to_bytes(8, "little") + body)
        for weight in header.values():  # holes between: 140 GB that take no space
            file.seek(8 + len(body) + weight["data_offsets"][0])
            file.write(b"\1\1")
        file.truncate(8 + len(body) + end)
    assert problems(tmp_path) == ""


def test_a_missing_head_is_named_whatever_config_json_claims(policy: Path) -> None:
    edit(policy / "config.json", architectures=["LlamaForSequenceClassification"], id2label={"0": "LABEL_0"})
    with pytest.raises(EngineError, match=r"lacks weights of the classification head \(score\.weight\)"):
        require_model(policy, REWARD)


def test_a_reward_model_has_one_label(reward: Path) -> None:
    edit(reward / "config.json", num_labels=2, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    assert "a reward model has one label, this one has 2" in problems(reward, REWARD)


@pytest.mark.parametrize("name", ["LlamaForTokenClassification", "LlamaForQuestionAnswering"])
def test_a_model_that_rates_tokens_is_not_a_reward_model(reward: Path, name: str) -> None:
    edit(reward / "config.json", architectures=[name])
    assert f"this is a {name}, which rates tokens, not answers" in problems(reward, REWARD)


def test_a_head_whose_bias_would_be_left_out_is_refused(reward: Path) -> None:
    change(reward, score__bias=torch.ones(1))
    assert "config.json leaves out what the files hold: score.bias" in problems(reward, REWARD)


def test_a_missing_weight_is_named(policy: Path) -> None:
    change(policy, model__layers__1__mlp__up_proj__weight=None)
    assert "lacks weights (model.layers.1.mlp.up_proj.weight)" in problems(policy)


def test_a_missing_weight_beside_a_missing_head_is_named_separately(policy: Path) -> None:
    change(policy, model__norm__weight=None)
    found = problems(policy, REWARD)
    assert f"{policy}: the checkpoint lacks weights of the classification head (score.weight)" in found
    assert f"{policy}: the checkpoint lacks weights (model.norm.weight)" in found


def test_a_reward_model_is_not_a_policy(reward: Path) -> None:
    found = problems(reward)
    assert "LlamaForSequenceClassification" in found
    assert f"{reward}: is a classifier" not in found  # reported only once


def test_a_classifier_that_config_json_calls_a_causal_model_is_not_a_policy(reward: Path) -> None:
    edit(reward / "config.json", architectures=["LlamaForCausalLM"])
    assert f"{reward}: is a classifier (score.weight), not a causal language model" in problems(reward)


def test_a_head_that_is_neither_stored_nor_tied_is_missing(tied: Path) -> None:
    edit(tied / "config.json", tie_word_embeddings=False)
    assert "lacks weights (lm_head.weight)" in problems(tied)


def test_a_weight_of_another_shape_is_named_with_its_file(policy: Path) -> None:
    change(policy, model__embed_tokens__weight=torch.zeros(40, 32))
    assert (
        "model.safetensors: model.embed_tokens.weight has the shape [40, 32], config.json wants [96, 32]"
        in problems(policy)
    )
    assert "more do not fit" not in problems(policy)
    change(policy, lm_head__weight=torch.zeros(40, 32))
    assert ", and 1 more do not fit." in problems(policy)


def test_layers_that_config_json_does_not_describe_are_reported(policy: Path) -> None:
    edit(policy / "config.json", num_hidden_layers=1, layer_types=None)
    assert "fewer layers than the files hold" in problems(policy)


def test_biases_that_config_json_switches_off_are_reported(policy: Path) -> None:
    change(policy, model__layers__0__self_attn__q_proj__bias=torch.zeros(32))
    assert "leaves out what the files hold: model.layers.0.self_attn.q_proj.bias" in problems(policy)


def test_more_layers_than_weights_are_refused_without_building_them(policy: Path) -> None:
    edit(policy / "config.json", num_hidden_layers=10**9)
    assert "names 1,000,000,000 layers" in problems(policy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            r"quantized \(gptq\).*cannot be trained",
        ),
        ({"dtype": "float99"}, "dtype 'float99' are not supported"),
        ({"model_type": "nosuch"}, r"config\.json: this transformers does not know model_type 'nosuch'"),
        (
            {"model_type": "nosuch", "auto_map": {"AutoConfig": "x.Y"}},
            "it has its own code, which is not run",
        ),
        ({"model_type": "t5"}, "is not a causal language model"),
        ({"num_attention_heads": "four"}, r"config\.json"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": None}, r"config\.json"),
        ({"hidden_act": "nothing"}, r"config\.json: the model that it describes cannot be built"),
    ],
)
def test_a_config_that_describes_no_usable_model_is_named(
    policy: Path, changes: dict[str, object], words: str
) -> None:
    edit(policy / "config.json", **changes)
    with pytest.raises(EngineError, match=words):
        require_model(policy, POLICY)


@pytest.mark.parametrize("body", ["{}", "[]", "{not json"])
def test_an_empty_config_is_named(policy: Path, body: str) -> None:
    (policy / "config.json").write_text(body)
    assert "config.json" in problems(policy)


def test_weights_in_whole_numbers_are_quantized(policy: Path) -> None:
    change(policy, model__layers__0__mlp__up_proj__weight=torch.zeros(48, 32, dtype=torch.int8))
    assert "holds quantized weights (model.layers.0.mlp.up_proj.weight)" in problems(policy)


def test_a_quantized_reward_model_is_left_to_vllm_if_it_has_a_head(reward: Path) -> None:
    edit(reward / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    assert problems(reward, REWARD) == ""
    change(reward, score__weight=None)
    assert "no classification head" in problems(reward, REWARD)


def test_weights_that_are_not_finite_are_named(policy: Path, reward: Path) -> None:
    change(policy, model__norm__weight=torch.full((32,), float("nan")))
    change(reward, model__layers__1__mlp__up_proj__weight=torch.full((48, 32), float("inf")))
    assert "model.norm.weight holds NaN or infinite values" in problems(policy)
    assert "model.layers.1.mlp.up_proj.weight holds NaN or infinite values" in problems(reward, REWARD)


def test_all_problems_are_reported_at_once(sharded: Path) -> None:
    first, second, *_ = sorted(sharded.glob("*.safetensors"))
    first.unlink()
    second.write_text(POINTER)
    (sharded / "tokenizer.json").write_text(POINTER)
    edit(sharded / "config.json", dtype="float99")
    found = problems(sharded)
    for words in (
        "1 of ",
        f"{second.name}: cannot be read: it is a git-lfs pointer",
        "tokenizer.json: cannot",
        "float99",
    ):
        assert words in found


def test_a_missing_directory_is_the_only_problem(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", Path("nul\0byte")):
        (only,) = examine(path, POLICY).problems
        assert "no such model directory" in only


def test_the_log_and_progress_settings_of_transformers_are_restored(policy: Path) -> None:
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    examine(policy, POLICY)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "generation_config.json"])
def test_a_device_in_the_place_of_a_file_is_the_one_problem(policy: Path, name: str) -> None:
    (policy / name).unlink(missing_ok=True)
    (policy / name).symlink_to(os.devnull)
    expected = f"{policy / name}: cannot read it: it is a device, not a regular file. Fetch it again."
    assert examine(policy, POLICY).problems == [expected]


@pytest.mark.parametrize("role", [POLICY, REWARD])
def test_an_adapter_beside_a_model_is_refused_before_anything_loads_it(
    policy: Path, reward: Path, role: ModelRole
) -> None:
    model = policy if role is POLICY else reward
    (model / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    [problem] = examine(model, role).problems
    assert "merge_and_unload" in problem
    with pytest.raises(EngineError, match="merge_and_unload"):
        require_model(model, role)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"peft_type": "LORA"}, "holds no updates (lora_A, lora_B)"),
        ({"peft_type": "IA3"}, "is an adapter of type 'IA3'; only LORA is taken here"),
        ({"peft_type": "LORA", "base_model_name_or_path": None}, "names no base model"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(
    policy: Path, tmp_path: Path, fields: dict[str, object], words: str
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": str(policy), **fields})
    )
    shutil.copyfile(policy / "model.safetensors", adapter / "adapter_model.safetensors")
    assert any(words in problem for problem in examine(adapter, POLICY).problems)
    with pytest.raises(EngineError, match="is a PEFT adapter, not a whole model"):
        require_model(adapter, POLICY)
