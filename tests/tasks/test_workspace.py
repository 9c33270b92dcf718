"""The paths in a workspace, and the error if it cannot be written."""

from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from tasks.workspace import Workspace


def test_a_shard_set_knows_its_workspace(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    assert Workspace.of_shards(workspace.shards("an-id")) == workspace


def test_a_workspace_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    Workspace(tmp_path).check_writable()
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkspaceError, match=r"file/workspace: cannot write.*disk that this machine can"):
        Workspace(tmp_path / "file" / "workspace").check_writable()


def test_a_read_only_disk_is_named() -> None:
    with pytest.raises(WorkspaceError, match="cannot write to the workspace"):
        Workspace(Path("/proc/figa")).check_writable()
