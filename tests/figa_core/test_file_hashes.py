"""Files at any depth are identified by their content."""

import hashlib
from pathlib import Path

import pytest

from figa_core.file_hashes import changed_files, hashes_of, sealed, unsealed


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


def test_a_seal_holds_the_fields_and_leaves_them_as_they_were() -> None:
    fields = {"a": 1, "b": [1.5, None]}
    whole = sealed(fields)
    assert "sha256" not in fields
    assert unsealed(whole) == fields
    with pytest.raises(ValueError, match="not what was written"):
        unsealed({**whole, "a": 2})
    assert unsealed(fields) == fields


def test_a_seal_is_the_hash_of_compact_json_whatever_the_order_of_the_fields() -> None:
    """As in every existing manifest: with another form they would all seem damaged."""
    body = b'{"a":1,"b":[1.5,null]}'
    for fields in ({"a": 1, "b": [1.5, None]}, {"b": [1.5, None], "a": 1}):
        assert sealed(fields)["sha256"] == hashlib.sha256(body).hexdigest()
