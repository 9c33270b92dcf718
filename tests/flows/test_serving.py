"""Runs that have the servers of another run: what is wrong with their machine."""

from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from figa_core.inference.server.serving_folder import new_serving_folder
from flows.serving import serve_model
from tasks.workspace import Workspace


async def test_a_machine_without_the_workspace_says_so_and_what_to_share(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"there is no such directory on .*on a disk that the machines"):
        await serve_model.fn(tmp_path / "elsewhere", "served-1")


async def test_an_order_that_is_not_needed_any_more_is_done(tmp_path: Path) -> None:
    folder = new_serving_folder(Workspace(tmp_path).scratch("generate"), "1")
    folder.end()
    await serve_model.fn(tmp_path, folder.path.name)
    assert folder.where() is None
