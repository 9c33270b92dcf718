"""Reward models in other forms are written once, and scored as the settings say."""

from pathlib import Path

import pytest

from figa_core.config import RewardConfig
from figa_core.inference.engine import SERVER, TRANSFORMERS
from figa_core.sandbox.build import Sandbox
from tasks.reward_models import loaded_reward_model, reward_chat, served_label
from tasks.score import scorer_id
from tasks.workspace import Workspace

from .rating import with_two_labels


@pytest.fixture
def model(sandbox: Sandbox, tmp_path: Path) -> Path:
    return with_two_labels(sandbox.reward_model, tmp_path / "reward")


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
