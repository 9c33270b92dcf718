import json
import os

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from figa_core.errors import EngineError, WorkspaceError
from figa_core.records import Message
from figa_core.sandbox.build import build_sandbox
from figa_core.sandbox.recipe import SandboxRecipe
from figa_core.sandbox.reward_model import rewards
from figa_core.sandbox.tokenizer import encode_prompt
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.vocabulary import SLOT_VALUES


def test_the_sandbox_has_ordinary_model_directories_and_unique_prompts(micro_sandbox, micro_recipe):
    for directory in (micro_sandbox.base_model, micro_sandbox.reward_model):
        assert {"config.json", "model.safetensors", "tokenizer.json"} <= {p.name for p in directory.iterdir()}
    rows = [json.loads(line) for line in micro_sandbox.prompts.read_text().splitlines()]
    assert len({json.dumps(row["prompt"]) for row in rows}) == len(rows) == micro_recipe.n_prompts
    for row in rows:
        messages = [Message(**message) for message in row["prompt"]]
        assert verify(messages, row["reference"]) == pytest.approx(1)


def test_remains_of_killed_builds_are_removed(micro_sandbox, micro_root):
    assert {path.name for path in micro_sandbox.directory.iterdir()} == {
        "base",
        "reward",
        "prompts.jsonl",
        "manifest.json",
    }
    assert list(micro_root.iterdir()) == [micro_sandbox.directory]


def test_progress_is_reported_and_figures_are_kept(micro_sandbox, micro_progress):
    assert "base model: 6/6 steps" in micro_progress
    assert "reward model: 6/6 steps" in micro_progress
    assert micro_sandbox.figures["base_parameters"] < 2_000_000
    assert {"reward_accuracy", "base_score_at_0", "build_seconds", "world_score"} <= set(
        micro_sandbox.figures
    )


def test_an_existing_sandbox_is_not_built_again(micro_sandbox, micro_root, micro_recipe):
    lines: list[str] = []
    assert build_sandbox(micro_root, micro_recipe, on_progress=lines.append) == micro_sandbox
    assert lines == []


def test_every_slot_value_is_one_token_and_the_end_of_turn_stops_a_generation(micro_sandbox):
    tokenizer = AutoTokenizer.from_pretrained(micro_sandbox.base_model)
    for values in SLOT_VALUES.values():
        assert all(len(tokenizer.encode(f" {v}", add_special_tokens=False)) == 1 for v in values)
    model = AutoModelForCausalLM.from_pretrained(micro_sandbox.base_model)
    end = tokenizer.convert_tokens_to_ids("<|end|>")
    assert end != tokenizer.eos_token_id
    assert {end, tokenizer.eos_token_id} == set(model.generation_config.eos_token_id)
    assert model.config.head_dim == 32


@pytest.mark.parametrize("part", ["base_model", "reward_model"])
def test_prompt_ids_are_those_of_the_chat_template(micro_sandbox, part):
    tokenizer = AutoTokenizer.from_pretrained(getattr(micro_sandbox, part))
    messages = (Message("system", "Be kind."), Message("user", "I am Anna, <b>lamp</b>?\nNext line."))
    templated = tokenizer.apply_chat_template(
        [message.as_dict() for message in messages], add_generation_prompt=True, return_dict=False
    )
    assert encode_prompt(tokenizer, messages) == templated


def test_a_reward_is_the_saved_classifiers_logit(micro_sandbox):
    tokenizer = AutoTokenizer.from_pretrained(micro_sandbox.reward_model)
    model = AutoModelForSequenceClassification.from_pretrained(micro_sandbox.reward_model).eval()
    user = Message("user", "I am Anna.")
    texts = [((user,), "Dear Anna, thanks."), ((user,), "Dear Boris, thank you for it.")]
    chats = [[user.as_dict(), {"role": "assistant", "content": text}] for _, text in texts]
    encoded = tokenizer.apply_chat_template(chats, return_dict=True, return_tensors="pt", padding=True)
    with torch.inference_mode():
        logits = model(**encoded).logits[:, 0].tolist()
    assert rewards(model, tokenizer, texts) == pytest.approx(logits, abs=1e-5)


def test_a_failing_worker_ends_the_build_and_leaves_nothing(tmp_path):
    impossible = SandboxRecipe(n_prompts=2, base_steps=-1, reward_steps=1, pairs_judged=2, prompts_sampled=-1)
    with pytest.raises(EngineError, match="worker ended with code 1"):
        build_sandbox(tmp_path, impossible)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_root_that_cannot_be_written_is_an_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(WorkspaceError, match="writable"):
        build_sandbox(tmp_path / "x", SandboxRecipe())


def test_a_file_in_place_of_the_root_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match="writable"):
        build_sandbox(tmp_path / "file", SandboxRecipe())


def test_another_recipe_is_another_sandbox():
    ids = {
        SandboxRecipe().sandbox_id(),
        SandboxRecipe(seed=1).sandbox_id(),
        SandboxRecipe(n_prompts=1).sandbox_id(),
    }
    assert len(ids) == 3


@pytest.mark.slow
def test_the_full_sandbox_reaches_its_figures(tmp_path):
    figures = build_sandbox(tmp_path).figures
    assert figures["reward_accuracy"] >= 0.9
    assert all(0.7 <= figures[f"base_score_at_{temperature}"] <= 0.88 for temperature in ("0", "0.7", "1"))
