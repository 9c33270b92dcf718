"""Code is the same if its files have the same names and contents."""

from pathlib import Path

import pytest

from figa_core.code_hash import code_hash


@pytest.fixture
def package(tmp_path: Path) -> Path:
    package = tmp_path / "package"
    (package / "below").mkdir(parents=True)
    (package / "one.py").write_text("1")
    (package / "below" / "two.py").write_text("2")
    return package


def test_a_changed_new_or_moved_file_changes_the_hash(package: Path) -> None:
    found = {code_hash([package])}
    (package / "one.py").write_text("3")
    found.add(code_hash([package]))
    (package / "three.py").touch()
    found.add(code_hash([package]))
    (package / "three.py").rename(package / "below" / "three.py")
    found.add(code_hash([package]))
    assert len(found) == 4


def test_where_it_lies_and_what_is_no_code_does_not_count(package: Path, tmp_path: Path) -> None:
    before = code_hash([package])
    (package / "notes.txt").touch()
    assert code_hash([package]) == before
    moved = package.rename(tmp_path.parent / f"{tmp_path.name}-moved")
    (tmp_path / "elsewhere").mkdir()
    assert code_hash([moved.rename(tmp_path / "elsewhere" / "package")]) == before
