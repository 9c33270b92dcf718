"""Paths at which a workspace cannot be created."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from figa_core.storage import file_systems
from figa_core.storage.database import Database
from figa_core.storage.file_systems import Mount
from flows.checks.workspace import (
    check_directory,
    check_file_system,
    check_place,
    nearest_existing,
    permit_network,
)
from flows.run.existing import existing_workspace
from tasks.workspace import Workspace

from .conftest import MakeFacts


def test_a_directory_that_exists_or_can_be_created_is_fine(facts: MakeFacts, tmp_path: Path) -> None:
    assert list(check_directory(facts(workspace={"path": "a/b/c"}))) == []
    assert list(check_directory(facts(workspace={"path": str(tmp_path)}))) == []


def test_a_file_in_the_way_is_named(facts: MakeFacts, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    for path in (file, file / "below"):
        [finding] = check_directory(facts(workspace={"path": str(path)}))
        assert finding.is_problem
        assert f"{path} cannot be a directory: {file} is a file" in str(finding)


def test_a_directory_without_write_permission_is_named(facts: MakeFacts) -> None:
    [finding] = check_directory(facts(workspace={"path": "/proc/1/workspace"}))
    assert str(finding).startswith(
        "workspace.path: /proc/1/workspace cannot be written to: no permission to write to /proc/1."
    )


def test_a_network_file_system_is_refused_with_the_reason_unless_it_is_permitted(
    facts: MakeFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "mounts_here", lambda: [Mount(tmp_path, "nfs4")])
    [finding] = check_file_system(facts())
    assert finding.is_problem
    assert f"nfs4, mounted at {tmp_path}" in str(finding)
    assert "storage.database_on_network = true" in str(finding)
    assert list(check_file_system(facts(storage={"database_on_network": True}))) == []
    monkeypatch.setattr(file_systems, "mounts_here", lambda: [Mount(tmp_path, "ext4")])
    assert list(check_file_system(facts())) == []


def test_a_command_without_settings_is_refused_there_until_a_run_was_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    workspace.directory.mkdir()
    workspace.database.create()
    before = workspace.database.path.stat()
    monkeypatch.setattr(file_systems, "mounts_here", lambda: [Mount(tmp_path, "nfs4")])
    monkeypatch.setattr(Database, "create", lambda _: pytest.fail("the database was opened"))
    with pytest.raises(WorkspaceError, match=r"nfs4, mounted at .*touch .*/database-on-network$"):
        existing_workspace(workspace.directory)
    assert workspace.database.path.stat().st_mtime_ns == before.st_mtime_ns
    monkeypatch.undo()
    monkeypatch.setattr(file_systems, "mounts_here", lambda: [Mount(tmp_path, "nfs4")])
    permit_network(workspace.directory)
    assert existing_workspace(workspace.directory) == workspace


def test_on_a_local_disk_nothing_is_permitted_or_asked_for(tmp_path: Path) -> None:
    permit_network(tmp_path)
    assert list(tmp_path.iterdir()) == []
    check_place(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_read_only_volume_is_named(tmp_path: Path) -> None:
    mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"'
    check = (
        "import sys; from pathlib import Path; from types import SimpleNamespace as N\n"
        "from flows.checks.workspace import check_directory\n"
        "config = N(workspace=N(path=Path(sys.argv[1]) / 'workspace'))\n"
        "print(*check_directory(N(config=config)))"
    )
    command = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$2" -c "$3" "$1"', "sh"]
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable, check], capture_output=True, text=True, check=False
    )
    if "ermission" in done.stderr:
        pytest.skip("this container may not mount")
    assert "lies on a file system that is mounted read-only" in done.stdout, done.stderr


def test_the_nearest_directory_above_is_found(tmp_path: Path) -> None:
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path
    assert nearest_existing(tmp_path) == tmp_path
