"""LoRA: the gradients of the updates are those of peft and PyTorch alone, and the result is peft's."""

import copy
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from figa_core.config import LoraConfig, LossConfig
from figa_core.errors import EngineError, InputError, TrainingError
from figa_core.models.adapter import WEIGHTS, base_of, is_adapter
from figa_core.models.check import examine
from figa_core.models.fingerprint import model_fingerprint
from figa_core.models.role import ModelRole
from figa_core.models.weight_files import ADAPTER
from figa_core.records import WeighedPair
from figa_core.training.attention import use_packed_attention
from figa_core.training.change import weight_change
from figa_core.training.data import PairData
from figa_core.training.job import TrainingJob
from figa_core.training.lora import Lora, add_lora
from figa_core.training.lora_export import export_lora
from figa_core.training.merging import adapter_change, merged_once
from figa_core.training.model import load_model
from figa_core.training.objectives.registry import make_objective
from figa_core.training.recomputing import use_activation_checkpointing
from figa_core.training.sharing import reason_against
from tests.figa_core.training.jobs import CPU, MakeJob, PlainEngine, step_of_all_ranks, write_set
from tests.figa_core.training.oracle import oracle, settings_of
from tests.figa_core.training.small_models import make
from tests.figa_core.training.test_sharing import pairs_of_one_prompt

FIGA = LossConfig(objective="figa", gamma=0.3, negative_nll_max=None)
LORA = LoraConfig(rank=4, alpha=6.0)


def with_updates(model: Any, settings: LoraConfig = LORA, base: Path = Path("base")) -> Lora:
    """Updates that are not zero, as after some steps."""
    lora = add_lora(model, settings, base=base, seed=3)
    assert lora is not None
    torch.manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.1)
    return lora


def gradients_of_updates(model: Any) -> dict[str, torch.Tensor]:
    named = model.named_parameters()
    return {name: parameter.grad for name, parameter in named if parameter.grad is not None}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", ["llama", "gpt-2", "gemma 2"])
def test_gradients_with_every_lever_are_those_of_peft_and_pytorch(
    name: str, recompute: bool, tmp_path: Path
) -> None:
    pairs = pairs_of_one_prompt()
    write_set(tmp_path / "set", pairs)
    job = TrainingJob(shards=tmp_path, model=tmp_path, loss=FIGA, training_id="", output=tmp_path, steps=1)
    plain = make(name).train()
    ours = copy.deepcopy(plain)
    expected = peft.get_peft_model(
        plain,
        peft.LoraConfig(
            r=4,
            lora_alpha=6,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
            fan_in_fan_out=name == "gpt-2",
        ),
    )
    lora = with_updates(ours)
    peft.set_peft_model_state_dict(
        expected, peft.get_peft_model_state_dict(lora.wrapped, save_embedding_layers=False)
    )
    oracle(expected, pairs, settings_of(job)).loss.backward()

    assert use_packed_attention(ours)
    assert reason_against("auto", ours, packs=True) is None
    use_activation_checkpointing(recompute, ours, CPU)
    data = PairData(tmp_path / "set")
    how = {"tokens_per_batch": 150, "packing": True, "tail_cut": True, "grain": 1}
    step_of_all_ranks(PlainEngine(ours), data, range(len(data)), make_objective(FIGA), 1, **how)

    found, wanted = gradients_of_updates(ours), gradients_of_updates(expected.get_base_model())
    assert found.keys() == wanted.keys()
    assert all(".lora_" in each for each in found)
    assert lora.trained == sum(gradient.numel() for gradient in found.values())
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    assert largest > 1e-3
    differences = [float((found[each] - wanted[each]).abs().max()) for each in found]
    assert max(differences) <= 1e-5 * largest


def test_at_first_the_model_is_its_base_and_equal_seeds_draw_equal_updates() -> None:
    base, one, same, other = (make("llama").eval() for _ in range(4))
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        add_lora(model, LORA, base=Path("base"), seed=seed)
    ids = torch.arange(2, 9)[None]
    with torch.no_grad():
        assert torch.equal(one(ids).logits, base(ids).logits)
    states = [dict(model.named_parameters()) for model in (one, same, other)]
    drawn = [name for name in states[0] if ".lora_A." in name]
    assert all(torch.equal(states[0][name], states[1][name]) for name in drawn)
    assert not any(torch.equal(states[0][name], states[2][name]) for name in drawn)


def test_without_a_rank_there_are_no_updates() -> None:
    model = make("llama")
    assert add_lora(model, LoraConfig(), base=Path("base"), seed=0) is None
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_dropout_of_updates_is_not_shared_between_answers() -> None:
    model = make("llama")
    assert use_packed_attention(model)
    add_lora(model, LoraConfig(rank=2, dropout=0.1), base=Path("base"), seed=0)
    assert reason_against("auto", model, packs=True) == "it would share the model's dropout too"


def test_it_says_how_many_weights_are_trained() -> None:
    lora = add_lora(make("llama"), LoraConfig(rank=2, target_modules=("q_proj",)), base=Path("base"), seed=0)
    assert lora is not None
    assert lora.trained == 2 * 2 * (32 + 32)
    assert str(lora) == f"LoRA: 256 of {lora.total:,} weights ({100 * 256 / lora.total:.2g} %)"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("q_proj", "query"), r"the model has no query\. It has q_proj, k_proj, v_proj, o_proj, gate_proj"),
        (("lm_head",), "lm_head is the output layer, which gets no update here"),
        (("q_proj", "embed_tokens"), "model.embed_tokens is the embedding"),
    ],
)
def test_modules_that_get_no_update_are_named(names: tuple[str, ...], words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        add_lora(make("llama"), LoraConfig(rank=2, target_modules=names), base=Path("base"), seed=0)


@pytest.fixture
def exported(make_job: MakeJob) -> TrainingJob:
    """An adapter that a training wrote."""
    return export(make_job(lora=LORA))


def export(job: TrainingJob) -> TrainingJob:
    job.output.mkdir(exist_ok=True)
    model = load_model(job.model)
    lora = with_updates(model, job.training.lora, job.model)
    updates = {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}
    export_lora(lora, updates, job)
    return job


def merged_by_peft(base: Path, adapter: Path) -> Any:
    model: Any = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()


def test_the_result_is_an_adapter_that_peft_loads(exported: TrainingJob, model_dir: Path) -> None:
    adapter = exported.model_dir
    config = json.loads((adapter / ADAPTER).read_text())
    assert (config["r"], config["lora_alpha"], config["task_type"]) == (4, 6.0, "CAUSAL_LM")
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["base_model_name_or_path"] == str(model_dir.resolve())
    trained = load_model(model_dir)
    with_updates(trained, LORA)
    loaded = peft.PeftModel.from_pretrained(load_model(model_dir), str(adapter))
    ids = torch.arange(2, 40)[None]
    with torch.no_grad():
        assert torch.equal(loaded.eval()(input_ids=ids).logits, trained.eval()(input_ids=ids).logits)
    assert is_adapter(adapter)
    assert base_of(adapter).fingerprint == model_fingerprint(model_dir)
    assert (adapter / "tokenizer.json").read_bytes() == (model_dir / "tokenizer.json").read_bytes()
    assert examine(adapter, ModelRole.POLICY).problems == []


def test_on_request_the_result_is_a_whole_model(make_job: MakeJob, exported: TrainingJob) -> None:
    whole = export(make_job(lora=LORA.model_copy(update={"merge": True}), output=exported.output / "whole"))
    assert sorted(path.name for path in whole.output.iterdir()) == ["model"]
    assert not is_adapter(whole.model_dir)
    assert examine(whole.model_dir, ModelRole.POLICY).problems == []
    found = AutoModelForCausalLM.from_pretrained(whole.model_dir)
    expected = merged_by_peft(exported.model, exported.model_dir).state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(weight, expected[name]) for name, weight in found.state_dict().items())
    assert torch.equal(found.lm_head.weight, found.model.embed_tokens.weight)


def test_an_adapter_is_merged_once_into_a_model_with_its_fingerprint(
    exported: TrainingJob, tmp_path: Path
) -> None:
    adapter, target = exported.model_dir, tmp_path / "merged"
    fingerprint = model_fingerprint(adapter)
    assert fingerprint not in (model_fingerprint(exported.model), "")
    merged_once(adapter, target, fingerprint)
    assert model_fingerprint(target) == fingerprint
    assert examine(target, ModelRole.POLICY).problems == []
    expected = merged_by_peft(exported.model, adapter).state_dict()
    found = load_file(target / "model.safetensors")
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())
    written = (target / "model.safetensors").stat().st_mtime_ns
    merged_once(adapter, target, fingerprint)
    assert (target / "model.safetensors").stat().st_mtime_ns == written
    change, of_merged = adapter_change(adapter), weight_change(exported.model, target)
    assert change is not None
    assert of_merged is not None
    assert change.relative == pytest.approx(of_merged.relative)
    assert replace(change, relative=0) == replace(of_merged, relative=0)
    (target / "config.json").write_text((target / "config.json").read_text() + " ")
    assert model_fingerprint(target) != fingerprint, "it is no longer what was merged"


def test_an_adapter_of_another_base_model_is_refused(exported: TrainingJob, tmp_path: Path) -> None:
    adapter, moved = exported.model_dir, tmp_path / "moved"
    fingerprint = model_fingerprint(adapter)
    shutil.copytree(exported.model, moved)
    name_base(adapter, moved)
    assert model_fingerprint(adapter) == fingerprint, "the same model in another place"
    model: Any = AutoModelForCausalLM.from_pretrained(moved)
    model.model.norm.weight.data += 1
    model.save_pretrained(moved)
    with pytest.raises(InputError, match="it was trained on another base model than"):
        model_fingerprint(adapter)


def name_base(adapter: Path, base: Path | str) -> None:
    config = json.loads((adapter / ADAPTER).read_text())
    (adapter / ADAPTER).write_text(json.dumps({**config, "base_model_name_or_path": str(base)}))


def test_an_adapter_with_updates_for_other_matrices_is_refused(exported: TrainingJob, tmp_path: Path) -> None:
    adapter = exported.model_dir
    make("llama").save_pretrained(tmp_path / "smaller")
    name_base(adapter, tmp_path / "smaller")
    [problem] = examine(adapter, ModelRole.POLICY).problems
    assert problem.startswith(f"{adapter}: is an adapter of another base model than {tmp_path / 'smaller'}")
    assert "its updates of model.layers.0" in problem


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("meta-llama/Llama-3.1-8B", "base model meta-llama/Llama-3.1-8B is not a directory here"),
        ("", "names no base model"),
    ],
)
def test_an_adapter_without_its_base_is_refused(exported: TrainingJob, base: str, words: str) -> None:
    name_base(exported.model_dir, base)
    [problem] = examine(exported.model_dir, ModelRole.POLICY).problems
    assert words in problem
    with pytest.raises(InputError, match=words):
        model_fingerprint(exported.model_dir)


def test_an_adapter_of_an_adapter_and_a_reward_adapter_are_refused(
    exported: TrainingJob, tmp_path: Path
) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(exported.model_dir, outer)
    name_base(outer, exported.model_dir)
    assert "is an adapter too" in examine(outer, ModelRole.POLICY).problems[0]
    assert "a reward model must be a whole model" in examine(exported.model_dir, ModelRole.REWARD).problems[0]


def test_weights_that_are_not_those_of_the_configuration_are_refused(
    exported: TrainingJob, tmp_path: Path
) -> None:
    config = json.loads((exported.model_dir / ADAPTER).read_text())
    fewer = [name for name in config["target_modules"] if not name.endswith("up_proj")]
    (exported.model_dir / ADAPTER).write_text(json.dumps({**config, "target_modules": fewer}))
    with pytest.raises(EngineError, match="its weights are not those of the updates"):
        merged_once(exported.model_dir, tmp_path / "merged", "fingerprint")
    assert not (tmp_path / "merged").exists()


def test_weights_that_are_not_finite_are_not_exported(make_job: MakeJob) -> None:
    job = make_job(lora=LORA)
    model = load_model(job.model)
    lora = with_updates(model)
    broken = {name: torch.full_like(p, torch.nan) for name, p in model.named_parameters() if p.requires_grad}
    with pytest.raises(TrainingError, match="hold NaN or infinity"):
        export_lora(lora, broken, job)
    assert not job.model_dir.exists()


def test_the_adapter_of_a_base_in_bfloat16_is_in_float32_and_its_model_in_bfloat16(
    make_job: MakeJob, tmp_path: Path, pairs: list[WeighedPair]
) -> None:
    base = tmp_path / "bfloat16"
    shutil.copytree(make_job().model, base)
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    job = export(make_job(lora=LORA, model=base))
    assert {tensor.dtype for tensor in load_file(job.model_dir / WEIGHTS).values()} == {torch.float32}
    merged_once(job.model_dir, tmp_path / "merged", "fingerprint")
    expected = merged_by_peft(base, job.model_dir).to(torch.bfloat16).state_dict()
    found = load_file(tmp_path / "merged" / "model.safetensors")
    assert all(torch.equal(weight, expected[name]) for name, weight in found.items())
