"""Runs that have the servers of another run: what is wrong with their machine."""

from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from flows.serving import serve_model


async def test_a_machine_without_the_workspace_says_so_and_what_to_share(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"there is no such directory on .*on a disk that the machines"):
        await serve_model.fn(tmp_path / "elsewhere", "served-1")
