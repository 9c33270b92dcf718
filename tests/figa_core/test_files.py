"""Only regular files are read, and files are written as a whole or not at all."""

import os
import shutil
import socket
from pathlib import Path

import pytest

from figa_core.files import (
    files_below,
    last_lines,
    open_regular,
    read_regular,
    replacing,
    require_regular,
    write_whole,
)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\x00\r\n")
    assert read_regular(path) == b"\x00\r\n"
    link = tmp_path / "link"
    link.symlink_to(path)
    with open_regular(link) as file:
        assert file.read(1) == b"\x00"


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, not a regular file") as caught:
        require_regular(tmp_path / "pipe")
    assert caught.value.strerror == "it is a pipe, not a regular file"
    assert caught.value.filename == str(tmp_path / "pipe")


def test_devices_behind_links_and_sockets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(os.devnull)
    with pytest.raises(OSError, match="it is a device"):
        open_regular(tmp_path / "link")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket"))  # absolute paths may be too long for a socket
        with pytest.raises(OSError, match="it is a socket"):
            read_regular(tmp_path / "socket")


def test_missing_files_and_directories_raise_the_usual_errors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        require_regular(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)


def test_files_below_a_directory_are_found_and_those_that_vanish_are_left_out(tmp_path: Path) -> None:
    for name in ("a/x", "a/y", "b/z"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "b" / "link").symlink_to("nowhere")
    assert {
        path.relative_to(tmp_path).as_posix(): state.st_size for path, state in files_below(tmp_path)
    } == {
        "a/x": 3,
        "a/y": 3,
        "b/z": 3,
    }
    found = files_below(tmp_path)
    first, _ = next(found)
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "b")
    assert first.name in ("x", "y", "z")
    assert list(found) == []
    assert list(files_below(tmp_path / "nowhere")) == []


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    with replacing(path, durable=True) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    write_whole(path, b"newer")
    assert path.read_text() == "newer"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")
    with pytest.raises(TypeError), replacing(path) as file:
        print("new", file=file)  # type: ignore[arg-type]  # a text into a file of bytes
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_durable_file_is_on_the_disk_before_it_replaces_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "figures.json"
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda _: synced.append(path.exists()))
    write_whole(path, b"1")
    assert synced == []
    path.unlink()
    write_whole(path, b"1", durable=True)
    assert synced == [False]


def test_the_last_lines_of_a_log_are_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert last_lines(path, 2) == ""
    path.write_bytes(b"first\n\nsecond \xff\r\n \nlast")
    assert last_lines(path, 2) == "second \ufffd\nlast"
    path.write_bytes(b"x" * 10_000_000 + b"\nlast")
    assert last_lines(path, 1) == "last"
    assert len(last_lines(path, 2)) < 100_000


def test_abandoned_files_are_removed_and_those_in_use_are_not(tmp_path: Path) -> None:
    path = tmp_path / "figures [1].json"
    abandoned, another, of_another_file = (
        tmp_path / name
        for name in ("figures [1].json.7.partial", "figures [1].json.8.partial", "figures 1.json.7.partial")
    )
    for partial in (abandoned, another, of_another_file):
        partial.write_text("half of")
    for partial in (abandoned, of_another_file):
        os.utime(partial, (0, 0))
    write_whole(path, b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([path, another, of_another_file])
