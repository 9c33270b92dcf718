"""Files of prompts of every format, suffix, encoding and compression."""

import gzip
import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from figa_core import ids
from figa_core.errors import InputError
from figa_core.prompts.files import prompts_fingerprint, unread
from figa_core.prompts.read import BadRow, Prompt, read_prompts
from tests.figa_core.prompts.reading import FORMAT, read

ROWS = [{"prompt": f"Wo ist Paket {i}, bitte? ü語😀", "reference": "Unterwegs."} for i in range(5)]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)


def texts(path: Path) -> list[str]:
    return [row.messages[0].content if isinstance(row, Prompt) else row.reason for row in read(path)]


EXPECTED = [row["prompt"] for row in ROWS]
ARRAY, PRETTY = json.dumps(ROWS), json.dumps(ROWS, indent=2, ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.jsonl", LINES.encode()),
        ("p.jsonl", LINES.encode("utf-8-sig")),
        ("p.jsonl", LINES.replace("\n", "\r\n").encode("utf-8-sig")),
        ("P.JSONL", LINES.encode()),
        ("p.ndjson", LINES.encode()),
        ("P.NdJson", LINES.encode()),
        ("p.json", ARRAY.encode()),
        ("p.json", PRETTY.encode("utf-8-sig")),
        ("p.JSON", PRETTY.replace("\n", "\r\n").encode()),
        ("p.json", LINES.encode()),
        ("p.json", LINES.replace("\n", "\r\n").encode("utf-8-sig")),
        ("p.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("p.ndjson.gz", gzip.compress(LINES.encode("utf-8-sig"), mtime=0)),
        (
            "P.JSONL.GZ",
            gzip.compress(LINES[:200].encode(), mtime=0) + gzip.compress(LINES[200:].encode(), mtime=0),
        ),
        ("p.json.gz", gzip.compress(PRETTY.encode(), mtime=0)),
    ],
)
def test_a_text_file_is_read_as_it_is(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    if name == "P.JSONL.GZ":
        content = gzip.compress(LINES.encode(), mtime=0)
    assert texts(tmp_path / name) == EXPECTED


def test_the_suffix_of_a_parquet_file_may_be_in_any_case(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "P.Parquet")
    assert texts(tmp_path / "P.Parquet") == EXPECTED


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.jsonl.gz"])
def test_another_encoding_is_named_with_the_command_that_converts_it(
    tmp_path: Path, encoding: str, name: str
) -> None:
    content = (ARRAY if name == "p.json" else LINES).encode(encoding)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(InputError, match=rf"{name}: this is {encoding[:6].upper()} text.*iconv"):
        read(tmp_path / name)


def test_rows_in_a_one_byte_encoding_are_named_and_the_others_read(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes('{"prompt": "plain"}\n{"prompt": "café"}\n'.encode("latin-1"))
    good, bad = read(tmp_path / "p.jsonl")
    assert isinstance(good, Prompt)
    assert isinstance(bad, BadRow)
    assert bad.row == 2
    assert "not UTF-8: byte 0xe9 at column 16" in bad.reason


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.jsonl", gzip.compress(b"{}", mtime=0), r"compressed with gzip.*p\.jsonl\.gz"),
        ("p.jsonl.gz", LINES.encode(), "not readable after row 0: Not a gzipped file"),
        ("p.json", b"PAR1....PAR1", r"a Parquet file.*\.parquet"),
        ("p.jsonl", b"PK\x03\x04...", "a ZIP archive"),
        ("p.jsonl", b"\x28\xb5\x2f\xfd...", "Zstandard"),
        ("p.parquet", b"", "not a readable Parquet file"),
        ("p.parquet", LINES.encode(), "not a readable Parquet file"),
        ("p.parquet.gz", gzip.compress(b"PAR1", mtime=0), "gunzip"),
        ("p.jsonl", ARRAY.encode(), r"one JSON array"),
        ("p.txt", b"x", r"unknown kind of file '\.txt'"),
        ("p.csv.gz", b"x", "unknown kind of file"),
        ("p", b"x", "unknown kind of file"),
        ("p.jsonl", b"version https://git-lfs.github.com/spec/v1\noid x\n", "git-lfs pointer.*git lfs pull"),
        (
            "p.parquet",
            b"version https://git-lfs.github.com/spec/v1\noid x\n",
            "git-lfs pointer.*git lfs pull",
        ),
        ("p.json", b"<!DOCTYPE html><title>404</title>", "an HTML page"),
        ("p.parquet", b"<html>", "an HTML page"),
    ],
)
def test_a_file_in_another_format_than_its_name_says_is_named(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}: .*{words}"):
        read(tmp_path / name)


@pytest.mark.parametrize("cut", [2, 12, 400, -1, -9])
def test_a_packed_file_that_ends_too_early_is_reported_with_its_last_row(tmp_path: Path, cut: int) -> None:
    packed = gzip.compress(b"\n".join(b'{"prompt": "%d"}' % (i * 7919**3) for i in range(300)))
    (tmp_path / "p.jsonl.gz").write_bytes(packed[:cut])
    with pytest.raises(InputError, match=r"not readable after row \d+: the file ends too early"):
        read(tmp_path / "p.jsonl.gz")


def test_a_packed_file_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(os.urandom(200).hex().encode() * 50))
    packed[20:60] = b"\xff" * 40
    (tmp_path / "p.jsonl.gz").write_bytes(packed)
    with pytest.raises(InputError, match=r"p\.jsonl\.gz: not readable after row"):
        read(tmp_path / "p.jsonl.gz")


def test_the_files_of_a_directory_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(b'{"prompt": "3"}\n{broken\n'))
    (folder / "a.JSON").write_text('[{"prompt": "1"}, {"prompt": "2"}]')
    pq.write_table(pa.Table.from_pylist([{"prompt": "5"}, {"prompt": None}]), folder / "c.parquet")
    for name in ("README.md", ".hidden.jsonl", "_SUCCESS", "sub/d.jsonl"):
        (folder / name).write_text('{"prompt": "not read"}')

    numbers, rows = zip(*read_prompts(folder, FORMAT), strict=True)
    assert numbers == (1, 2, 3, 4, 5, 6)
    assert [row.messages[0].content for row in rows if isinstance(row, Prompt)] == ["1", "2", "3", "5"]
    assert rows[3].reason.endswith("[in b.jsonl.gz, row 2]")
    assert rows[5] == BadRow(6, "field 'prompt' is null [in c.parquet, row 2]")
    assert len(list(read_prompts(folder, FORMAT, 3))) == 3


def test_a_directory_without_a_file_of_prompts_is_named(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("nothing")
    with pytest.raises(InputError, match=r"no file of prompts in this directory"):
        read(tmp_path)


@pytest.mark.parametrize("names", [("dataset_dict.json",), ("state.json", "data-00000-of-00001.arrow")])
def test_a_data_set_that_datasets_saved_is_refused_with_what_to_do(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    with pytest.raises(InputError, match="to_parquet"):
        read(tmp_path)


def test_what_a_directory_holds_of_a_data_set_and_nothing_reads_is_named(tmp_path: Path) -> None:
    for name in ("b.csv", "c.jsonl.zst", "README.md", ".hidden.csv", "_part.csv"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "d.jsonl").write_text(LINES)
    assert unread(tmp_path) == ["b.csv", "c.jsonl.zst", "more/"]
    with pytest.raises(InputError, match=r"only b\.csv; c\.jsonl\.zst; more/"):
        read(tmp_path)
    (tmp_path / "a.jsonl").write_text(LINES)
    assert unread(tmp_path / "a.jsonl") == []
    assert unread(tmp_path) == ["b.csv", "c.jsonl.zst", "more/"]


@pytest.mark.parametrize("twice", ["prompt", "reference"])
def test_a_column_that_a_parquet_file_has_twice_is_named(tmp_path: Path, twice: str) -> None:
    columns = [pa.array(["a"]), pa.array(["b"]), pa.array(["c"])]
    pq.write_table(
        pa.Table.from_arrays(columns, names=["prompt", "reference", twice]), tmp_path / "p.parquet"
    )
    with pytest.raises(InputError, match=f"2 columns named '{twice}'"):
        read(tmp_path / "p.parquet")


def test_the_fingerprint_of_a_file_is_the_hash_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(LINES.encode())
    assert prompts_fingerprint(tmp_path / "p.jsonl") == ids.file_fingerprint(tmp_path / "p.jsonl")


def test_the_fingerprint_of_a_directory_depends_on_the_names_and_bytes_of_its_prompts(tmp_path: Path) -> None:
    def fingerprint(**files: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / name.replace("__", ".")).write_text(text)
            return prompts_fingerprint(Path(folder))

    known = fingerprint(a__jsonl="1", b__jsonl="2")
    assert known == "prompts-s256-dd6317cc51f27f17ad75bbdbbc0cff20"  # as it always was
    assert known == fingerprint(b__jsonl="2", a__jsonl="1", README="x")
    assert len({known, fingerprint(a__jsonl="12", b__jsonl=""), fingerprint(a__jsonl="1", c__jsonl="2")}) == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path in (tmp_path / "p.jsonl", tmp_path / "loop", Path("a\0b.jsonl")):
        for look in (read, prompts_fingerprint):
            with pytest.raises(InputError, match=r"no such file|cannot be read"):
                look(path)


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=400)
    | st.sampled_from([LINES.encode(), PRETTY.encode(), gzip.compress(LINES.encode(), mtime=0)]),
    st.binary(max_size=8),
    st.integers(0, 300),
    st.sampled_from([".jsonl", ".ndjson", ".json", ".jsonl.gz", ".json.gz", ".parquet", ".parquet.gz"]),
)
def test_whatever_bytes_a_file_holds_it_gives_rows_or_an_error(
    content: bytes, patch: bytes, place: int, ending: str
) -> None:
    if ending == ".parquet" and len(patch) % 2:
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(ROWS), sink)
        content = sink.getvalue().to_pybytes()
    content = content[:place] + patch + content[place + len(patch) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"any{ending}"
        path.write_bytes(content)
        with suppress(InputError):
            assert all(isinstance(row, Prompt | BadRow) for row in read(path))


@pytest.mark.parametrize("in_a_directory", [True, False])
def test_a_device_or_a_broken_link_is_not_a_file_of_prompts(tmp_path: Path, in_a_directory: bool) -> None:
    (tmp_path / "a.jsonl").write_text(LINES)
    for target, words in ((os.devnull, "it is a device, not a regular file"), ("nowhere", "[Nn]o such file")):
        odd = tmp_path / "b.jsonl"
        odd.unlink(missing_ok=True)
        odd.symlink_to(target)
        for look in (read, prompts_fingerprint):
            with pytest.raises(InputError, match=rf"b\.jsonl: .*{words}"):
                look(tmp_path if in_a_directory else odd)
