"""What the doctor says of a workspace; it changes nothing there."""

import shutil
from collections import namedtuple
from functools import partial
from pathlib import Path

import pytest

from figa_core.errors import WorkspaceError
from figa_core.processes.lease import workspace_lease
from figa_core.storage import file_systems
from figa_core.storage.file_systems import Mount
from figa_core.storage.migrations import SCHEMA_VERSION
from figa_core.storage.runs import save_run
from flows.operations.doctor.lines import Level, Line, looked_at
from flows.operations.doctor.storage import LITTLE_BYTES, named_store, storage_lines, store_lines
from tasks.workspace import Workspace

Usage = namedtuple("Usage", "total used free")


def lines_by_what(directory: Path) -> dict[str, Line]:
    return {line.about: line for line in storage_lines(directory)}


def test_a_workspace_that_does_not_exist_is_no_problem_and_is_not_made(tmp_path: Path) -> None:
    lines = lines_by_what(tmp_path / "a" / "b")
    assert {line.level for line in lines.values()} == {Level.OK}
    assert "none in" in lines["workspace"].text
    assert list(tmp_path.iterdir()) == []


def test_a_workspace_names_its_holder_and_its_schema(tmp_path: Path) -> None:
    Workspace(tmp_path).database.create()
    assert "not in use" in lines_by_what(tmp_path)["workspace"].text
    with workspace_lease(tmp_path, owner="the nightly run"):
        lines = lines_by_what(tmp_path)
    assert "in use by the nightly run, process" in lines["workspace"].text
    assert lines["database"].text == f"schema {SCHEMA_VERSION}"


def test_a_schema_newer_than_the_code_is_a_problem_and_an_older_one_is_not(tmp_path: Path) -> None:
    database = Workspace(tmp_path).database
    database.create()
    database.insert("migrations", [{"number": SCHEMA_VERSION + 1, "name": "later"}])
    line = lines_by_what(tmp_path)["database"]
    assert line.level is Level.PROBLEM
    assert "Update figa" in line.text
    database.execute("DELETE FROM migrations WHERE number >= $n", n=SCHEMA_VERSION)
    line = lines_by_what(tmp_path)["database"]
    assert line.level is Level.OK
    assert f"brings it to {SCHEMA_VERSION}" in line.text


def test_little_room_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, LITTLE_BYTES - 1))
    assert lines_by_what(tmp_path)["disk"].level is Level.WARNING


def test_the_store_of_the_latest_run_that_names_one_is_looked_at(tmp_path: Path) -> None:
    assert named_store(tmp_path) is None
    database = Workspace(tmp_path).database
    database.create()
    url = f"file://{tmp_path}/store"
    for run, storage in (("1", {"artifacts": "file:///older"}), ("2", {"artifacts": url}), ("3", {})):
        save_run(database, run, run, {"storage": storage}, None)
    assert named_store(tmp_path) == url
    assert list(store_lines(tmp_path / "none", None)) == []
    [line] = store_lines(tmp_path, None)
    assert line == Line(Level.OK, "store", f"{url} can be written and read here")
    (tmp_path / "file").touch()
    [line] = looked_at("store", partial(store_lines, tmp_path, f"file://{tmp_path}/file"))
    assert line.level is Level.PROBLEM
    assert "cannot write" in line.text


def test_a_network_file_system_is_a_warning_until_it_is_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_systems, "mounts_here", lambda: [Mount(tmp_path, "nfs4")])
    line = lines_by_what(tmp_path)["file system"]
    assert line.level is Level.WARNING
    assert "set storage.database_on_network = true" in line.text
    Workspace(tmp_path).network_permit.touch()
    line = lines_by_what(tmp_path)["file system"]
    assert line.level is Level.OK
    assert "permits" in line.text


def test_an_error_in_a_look_is_a_line_after_those_before_it(tmp_path: Path) -> None:
    def look() -> list[Line]:
        raise WorkspaceError("the disk is gone. Bring it back.")

    def look_on() -> object:
        yield Line(Level.OK, "a", "well")
        raise RuntimeError("two\nlines")

    assert looked_at("disk", look) == [Line(Level.PROBLEM, "disk", "the disk is gone. Bring it back")]
    first, second = looked_at("b", look_on)  # type: ignore[arg-type]
    assert str(first) == "ok       a: well"
    assert str(second) == "problem  b: could not be looked at: RuntimeError: two lines"
