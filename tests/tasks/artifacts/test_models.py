"""Models that lie in the workspace: trained, merged, or put there."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from figa_core.errors import ArtifactsError
from figa_core.files import whole_files
from figa_core.models.fingerprint import model_fingerprint
from tests.tasks.artifacts.machines import Machine, finish, write


def _write_model(model: Path, value: float) -> None:
    write(model, **{"config.json": "{}"})
    save_file({"weight": np.full(3, value, dtype=np.float32)}, model / "model.safetensors")


def test_a_trained_model_of_the_workspace_is_had_elsewhere(owner: Machine, worker: Machine) -> None:
    finish(owner)
    for _ in range(2):
        owner.artifacts.send_model(owner.output / "model")
        worker.artifacts.fetch_model(worker.output / "model")
    assert worker.files() == owner.files()
    assert owner.store.sent.count("trainings/one/model/weights") == 1


def test_a_merged_model_of_the_workspace_is_had_elsewhere(owner: Machine, worker: Machine) -> None:
    model = owner.workspace.merged("f" * 40)
    _write_model(model, 1.0)
    for _ in range(2):
        owner.artifacts.send_model(model)
        worker.artifacts.fetch_model(worker.workspace.merged("f" * 40))
    assert whole_files(worker.workspace.merged("f" * 40)) == ["config.json", "model.safetensors"]
    assert len(owner.store.sent) == len(worker.store.fetched) == 2


def test_another_model_of_the_same_size_under_the_same_path_is_sent_and_replaces_the_old_one(
    owner: Machine, worker: Machine
) -> None:
    for value in (1.0, 2.0):
        model = owner.workspace.directory / "base"
        _write_model(model, value)
        if value == 1.0:
            write(model, **{"tokenizer.json": "{}"})
        else:
            (model / "tokenizer.json").unlink()
        owner.artifacts.send_model(model)
        worker.artifacts.fetch_model(worker.workspace.directory / "base")
    copy = worker.workspace.directory / "base"
    assert (copy / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert model_fingerprint(copy) == model_fingerprint(model)


def test_an_incomplete_model_replaces_nothing(owner: Machine, worker: Machine) -> None:
    for machine, value in ((owner, 1.0), (worker, 2.0)):
        _write_model(machine.workspace.directory / "base", value)
    owner.artifacts.send_model(owner.workspace.directory / "base")
    owner.store.write("base/config.json", b'{"half": true}')
    here = worker.workspace.directory / "base"
    before = model_fingerprint(here)
    with pytest.raises(ArtifactsError, match="base: the model is incomplete there"):
        worker.artifacts.fetch_model(here)
    assert model_fingerprint(here) == before


def test_a_model_outside_the_workspace_is_expected_on_each_machine(owner: Machine, tmp_path: Path) -> None:
    model = tmp_path / "models" / "base"
    write(model, **{"config.json": "{}"})
    owner.artifacts.send_model(model)
    owner.artifacts.fetch_model(model)
    assert owner.store.sent == owner.store.fetched == []
