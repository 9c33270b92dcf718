"""Files at any depth are identified by their content."""

import hashlib
import json
from pathlib import Path

import pytest

from figa_core.file_hashes import changed_files, hashes_of, read_sealed, write_sealed


def test_changed_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("a", "b", "below/c"):
        (tmp_path / name).write_text(name)
    hashes = hashes_of(tmp_path)
    assert list(hashes) == ["a", "b", "below/c"]
    assert changed_files(tmp_path, hashes) == []
    (tmp_path / "a").unlink()
    (tmp_path / "below" / "c").write_text("d")
    assert changed_files(tmp_path, hashes) == ["a is missing", "below/c has changed"]


def test_a_file_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    (tmp_path / "manifest").write_text("m")
    assert list(hashes_of(tmp_path, without=frozenset(("manifest",)))) == ["a"]


def test_a_sealed_file_holds_the_fields_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    path, fields = tmp_path / "manifest.json", {"a": 1, "b": [1.5, None]}
    write_sealed(path, fields)
    assert "sha256" not in fields
    assert read_sealed(path) == fields
    for damage in (path.read_text().replace('"a": 1', '"a": 2'), "{", "[]"):
        path.write_text(damage)
        with pytest.raises(ValueError):  # noqa: PT011 - of three kinds
            read_sealed(path)


def test_a_file_without_a_seal_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"a": 1}')
    assert read_sealed(tmp_path / "manifest.json") == {"a": 1}


def test_a_seal_is_the_hash_of_compact_json_whatever_the_order_of_the_fields(tmp_path: Path) -> None:
    """As in every existing manifest: with another form they would all seem damaged."""
    body = b'{"a":1,"b":[1.5,null]}'
    for fields in ({"a": 1, "b": [1.5, None]}, {"b": [1.5, None], "a": 1}):
        write_sealed(tmp_path / "manifest.json", fields)
        written = json.loads((tmp_path / "manifest.json").read_text())
        assert written["sha256"] == hashlib.sha256(body).hexdigest()
