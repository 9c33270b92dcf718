"""Reward models in other forms are written once, and scored as the settings say."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from figa_core.config import RewardConfig
from figa_core.inference.engine import SERVER, TRANSFORMERS
from figa_core.sandbox.build import Sandbox
from tasks.reward_models import loaded_reward_model, reward_chat, served_label
from tasks.score import scorer_id
from tasks.workspace import Workspace


@pytest.fixture
def model(sandbox: Sandbox, tmp_path: Path) -> Path:
    """The sandbox's, with two labels: the second is its own."""
    copy = shutil.copytree(sandbox.reward_model, tmp_path / "reward")
    weights = load_file(copy / "model.safetensors")
    weights["score.weight"] = torch.cat([-weights["score.weight"], weights["score.weight"]])
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    path = copy / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "id2label": {"0": "bad", "1": "good"}}))
    return copy


def test_a_model_that_engines_load_is_itself(workspace: Workspace, sandbox: Sandbox) -> None:
    config = RewardConfig(model=sandbox.reward_model)
    assert loaded_reward_model(workspace, config, TRANSFORMERS) == sandbox.reward_model


def test_another_form_is_written_once(workspace: Workspace, model: Path) -> None:
    config = RewardConfig(model=model, label="good")
    first = loaded_reward_model(workspace, config, TRANSFORMERS)
    written = (first / "config.json").stat().st_mtime_ns
    assert loaded_reward_model(workspace, config, TRANSFORMERS) == first
    assert (first / "config.json").stat().st_mtime_ns == written
    other = RewardConfig(model=model, label="bad")
    assert loaded_reward_model(workspace, other, TRANSFORMERS) != first


def test_the_form_of_a_model_that_was_moved_has_its_files(workspace: Workspace, model: Path) -> None:
    first = loaded_reward_model(workspace, RewardConfig(model=model, label="good"), TRANSFORMERS)
    for place in (model.with_name("moved"), model.with_name("moved again")):
        model = model.rename(place)
        config = RewardConfig(model=model, label="good")
        assert loaded_reward_model(workspace, config, TRANSFORMERS) == first
        links = [path for path in first.iterdir() if path.is_symlink()]
        assert links
        assert all(path.exists() and path.resolve().parent == model for path in links)


def test_a_server_has_the_model_as_it_is_and_is_told_the_label(workspace: Workspace, model: Path) -> None:
    config = RewardConfig(model=model, label="good", engine=SERVER)
    assert loaded_reward_model(workspace, config, SERVER) == model
    assert served_label(config) == 1
    assert served_label(RewardConfig(model=model, label="good")) is None


def test_label_and_template_are_part_of_the_scorers_id_if_they_are_not_the_models_own(
    workspace: Workspace, model: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    rating = tmp_path / "rating.jinja"
    rating.write_text("{% for message in messages %}{{ message.content }}{% endfor %}")
    found = [
        scorer_id(workspace, config)
        for config in (
            RewardConfig(model=model, label="good"),
            RewardConfig(model=model, label=1),
            RewardConfig(model=model, label=0),
            RewardConfig(model=model, label=1, chat_template=rating),
        )
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 3
    usual = RewardConfig(model=sandbox.reward_model)
    assert scorer_id(workspace, usual) == scorer_id(workspace, usual.model_copy(update={"label": 0}))


def test_texts_are_rated_in_the_template_of_the_settings(
    workspace: Workspace, model: Path, tmp_path: Path
) -> None:
    rating = tmp_path / "rating.jinja"
    rating.write_text("{% for message in messages %}[{{ message.content }}]{% endfor %}")
    config = RewardConfig(model=model, label=1, chat_template=rating)
    assert reward_chat(config).template == rating.read_text()
    loaded = loaded_reward_model(workspace, config, TRANSFORMERS)
    assert (loaded / "chat_template.jinja").read_text() == rating.read_text()
