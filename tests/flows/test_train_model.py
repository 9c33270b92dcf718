"""The parameters of `train-model`, and the line about its updates."""

from pathlib import Path

import pytest

from deployments.automations import _from_event
from figa_core.config import TrainingConfig
from figa_core.config.file import load_config
from figa_core.training.job import TrainingSpec
from flows.progress import Lines
from flows.run.open_run import visit_run
from flows.train_model import about_updates, run_name_of, train_model

from .conftest import KEY, KEY_VARIABLE, Project


def test_few_updates_are_reported_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    project.settings["training"] |= {"pairs_per_step": 128, "epochs": 1, "max_steps": 100}
    config, lines = load_config(project.config), list[str]()
    with visit_run(config, "test", Lines(lines.append)) as run:
        warned = run.warned
    assert len([line for line in lines if "training.pairs_per_step" in line]) == 1
    assert about_updates(config.training, 20, warned) is None
    few = about_updates(config.training, 20, frozenset())
    assert few is not None
    assert "1 update in all" in few, "thresholds may leave fewer pairs than the checks could know"
    auto = about_updates(TrainingConfig(pairs_per_step="auto"), 20, frozenset())
    assert auto is not None


def test_the_form_asks_for_what_defines_a_training_and_so_do_event_and_automation(tmp_path: Path) -> None:
    form = train_model.parameters.properties
    assert list(form) == list(TrainingSpec.model_fields)
    assert train_model.parameters.required == ["shards", "model"]
    definitions = train_model.parameters.definitions
    assert definitions["LossConfig"]["properties"]["objective"]["enum"][:4] == [
        "figa",
        "sft",
        "sft_revised",
        "unlikelihood",
    ]
    spec = TrainingSpec(shards=tmp_path, model=tmp_path)
    assert spec.parameters().keys() == _from_event().keys() == form.keys()
    assert TrainingSpec.model_validate(spec.parameters()) == spec


def test_a_run_names_what_tells_the_trainings_of_a_comparison_apart(tmp_path: Path) -> None:
    spec = TrainingSpec(shards=tmp_path / "support" / "shards" / "set", model=tmp_path / "llama")
    assert run_name_of(spec) == "support: train FIGA from llama"
    training = TrainingConfig(learning_rate=1e-4, seed=3)
    compared = spec.model_copy(update={"training": training, "pairs_limit": 32})
    assert run_name_of(compared) == "support: train FIGA from llama, 32 pairs, rate 0.0001, seed 3"
