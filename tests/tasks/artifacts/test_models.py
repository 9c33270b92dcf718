"""Models that lie in the workspace: trained, merged, or put there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from figa_core.errors import ArtifactsError
from figa_core.files import whole_files
from figa_core.models.fingerprint import model_fingerprint
from tests.tasks.artifacts.machines import Machine, checkpoint, fail, finish, write


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


def _write_adapter(adapter: Path, base: Path) -> None:
    write(adapter, **{"adapter_config.json": json.dumps({"base_model_name_or_path": str(base), "r": 4})})
    save_file({"lora": np.ones(2, dtype=np.float32)}, adapter / "adapter_model.safetensors")


def test_an_adapter_is_had_with_its_base_model_by_a_machine_that_has_neither(owner: Machine) -> None:
    """All machines have the same paths: here one loses its disk."""
    base, adapter = (owner.workspace.directory / name for name in ("base", "adapter"))
    _write_model(base, 1.0)
    _write_adapter(adapter, base)
    owner.artifacts.send_model(adapter)
    before = model_fingerprint(adapter)
    shutil.rmtree(base)
    shutil.rmtree(adapter)
    owner.artifacts.fetch_model(adapter)
    assert model_fingerprint(adapter) == before


def test_a_trained_adapter_is_had_with_its_base_model_too(owner: Machine) -> None:
    base, adapter = owner.workspace.directory / "base", owner.output / "model"
    _write_model(base, 1.0)
    _write_adapter(adapter, base)
    finish(owner)
    owner.artifacts.send_model(adapter)
    shutil.rmtree(base)
    shutil.rmtree(owner.output)
    owner.artifacts.fetch_model(adapter)
    assert whole_files(base) == ["config.json", "model.safetensors"]
    assert (adapter / "adapter_config.json").exists()


def test_a_model_that_was_replaced_in_part_only_is_not_taken_for_the_old_one(
    owner: Machine, worker: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = owner.workspace.directory / "base"
    _write_model(base, 1.0)
    owner.artifacts.send_model(base)
    _write_model(base, 2.0)
    with monkeypatch.context() as broken:
        broken.setattr(type(owner.store), "send", _fails)
        with pytest.raises(ArtifactsError):
            owner.artifacts.send_model(base)
    worker.artifacts.fetch_model(worker.workspace.directory / "base")
    assert not (worker.workspace.directory / "base").exists()


def _fails(*_: object) -> bool:
    raise ArtifactsError("away")


def test_what_lies_beside_the_result_of_a_training_is_no_training(owner: Machine, worker: Machine) -> None:
    _write_model(owner.output / "averaged", 1.0)
    owner.artifacts.send_model(owner.output / "averaged")
    worker.artifacts.fetch_model(worker.output / "averaged")
    assert whole_files(worker.output / "averaged") == ["config.json", "model.safetensors"]


def test_checkpoints_are_removed_from_the_store_with_the_result_of_their_training(owner: Machine) -> None:
    fail(owner, lambda: checkpoint(owner, 4))
    finish(owner)
    owner.artifacts.send_model(owner.output / "model")
    assert not [name for name in owner.store.listing("trainings/one") if "checkpoints" in name]


def test_a_file_is_had_as_it_was_and_one_that_is_not_there_leaves_nothing(
    owner: Machine, worker: Machine
) -> None:
    write(owner.workspace.directory, **{"sweeps__one__manifest.json": "{}"})
    owner.artifacts.send_file(owner.workspace.directory / "sweeps" / "one" / "manifest.json")
    for name in ("manifest.json", "other.json"):
        worker.artifacts.fetch_file(worker.workspace.directory / "sweeps" / "one" / name)
    assert whole_files(worker.workspace.directory) == ["sweeps/one/manifest.json"]
    with pytest.raises(ArtifactsError, match="the file is gone"):
        owner.artifacts.send_file(owner.workspace.directory / "gone")
