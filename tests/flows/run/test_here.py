"""A run on a pool finds the other run's workspace on its machine, or says what to do."""

from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from flows.run.here import fingerprints_here, workspace_here


def test_a_shared_workspace_that_is_not_here_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"elsewhere: there is no such directory on .*Share the disk"):
        workspace_here(tmp_path / "elsewhere", "Share the disk.")
    assert not (tmp_path / "elsewhere").exists()


def test_a_workspace_that_comes_by_a_store_is_made(tmp_path: Path) -> None:
    workspace = workspace_here(tmp_path / "copy", "Share the disk.", is_shared=False)
    assert workspace.directory == tmp_path / "copy"


def test_fingerprints_are_kept_by_machine(tmp_path: Path) -> None:
    workspace = workspace_here(tmp_path, "Share the disk.")
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    found = fingerprints_here(workspace)(model)
    assert fingerprints_here(workspace)(model) == found
    (model / "model.safetensors").write_bytes(b"other weights")
    assert fingerprints_here(workspace)(model) != found
