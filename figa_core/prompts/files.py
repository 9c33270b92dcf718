"""Reads files of prompts as a stream of rows: JSON lines or arrays, plain or gzipped, and Parquet.

The files of a directory are read in the order of their names. A file's name determines its format. If its
first bytes show another format, or are not UTF-8, the file is refused with a message that names that format.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from figa_core import ids
from figa_core.errors import InputError
from figa_core.files import require_regular
from figa_core.prompts import json_rows

KINDS = (".jsonl", ".ndjson", ".json", ".parquet")
_SUPPORTED = ".jsonl, .ndjson, .json (each also as .gz) or .parquet"
_PARQUET_ROWS = 1024
_NAMES_SHOWN = 12
_HEAD_BYTES = 2**16
_UNPACK = f"prompts are read from {_SUPPORTED}. Unpack it first"
_OTHER_FORMATS = (
    (b"\x1f\x8b", "compressed with gzip", "its name does not say so. Rename it to {name}.gz"),
    (b"PAR1", "a Parquet file", "its name does not say so. Rename it to end in .parquet"),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", _UNPACK),
    (b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (b"BZh", "compressed with bzip2", _UNPACK),
    (b"version https://git-lfs", "a git-lfs pointer", "the file itself is not here. Fetch it: git lfs pull"),
    (b"<!DOCTYPE", "an HTML page", "perhaps of a failed download. Fetch the file again"),
    (b"<!doctype", "an HTML page", "perhaps of a failed download. Fetch the file again"),
    (b"<html", "an HTML page", "perhaps of a failed download. Fetch the file again"),
)
_NOT_READ = frozenset(
    {".csv", ".tsv", ".arrow", ".feather", ".avro", ".orc", ".xlsx", ".pkl", ".gz", ".zst", ".bz2", ".xz"}
    | {".lz4", ".zip", ".7z", ".tar", ".tgz"}
)
_JSON_STARTS = (b"{", b"[", b'"', b" ", b"\t", b"\r", b"\n")

Row = Mapping[str, Any] | str
"""A row's fields, or the reason why it cannot be read."""


def files_of(path: Path) -> list[Path]:
    """The file itself, or the files of prompts in a directory, sorted by name.

    Raises:
        InputError: the file does not exist, or there is none with a known suffix.
    """
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file of prompts. Set prompts.path to a {_SUPPORTED} file.")
        files = [path]
        if path.is_dir():
            _refuse_datasets(path)
            files = sorted(p for p in path.iterdir() if _kind(p)[0] in KINDS and _is_listed(p))
        for file in files:
            require_regular(file)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read: {error.strerror}.") from error
    if not files:
        only = f", only {'; '.join(others)}" if (others := unread(path)) else ""
        raise InputError(
            f"{path}: no file of prompts in this directory{only}. Prompts are read from {_SUPPORTED}."
        )
    if _kind(files[0])[0] not in KINDS:
        raise InputError(
            f"{path}: unknown kind of file {path.suffix!r}. Prompts are read from {_SUPPORTED}, or from a "
            "directory of such files."
        )
    return files


def _refuse_datasets(directory: Path) -> None:
    """Raise InputError for what `datasets` saves: JSON about the rows beside Arrow files with the rows."""
    of_several = (directory / "dataset_dict.json").exists()
    if of_several or ((directory / "state.json").exists() and any(directory.glob("*.arrow"))):
        raise InputError(
            f"{directory}: is a data set in Arrow's format, as `datasets` saves it, which is not read. Write "
            "the rows of one split as Parquet: load_from_disk(…).to_parquet(…)."
        )


def unread(path: Path) -> list[str]:
    """The names of what seems to be data in a directory and is not read: files in other formats, and
    directories with files of prompts, which are not searched. Raises OSError.
    """
    if not path.is_dir():
        return []
    inside = sorted(p for p in path.iterdir() if not p.name.startswith((".", "_")))
    return [
        f"{each.name}/" if each.is_dir() else each.name
        for each in inside
        if (each.is_dir() and any(_kind(p)[0] in KINDS for p in each.iterdir()))
        or (not each.is_dir() and _kind(each)[0] not in KINDS and each.suffix.lower() in _NOT_READ)
    ]


def prompts_fingerprint(path: Path) -> str:
    """A hash of the file's bytes; for a directory, of its files' names and bytes.

    Raises:
        InputError: see `files_of`; or a file cannot be read.
    """
    files = files_of(path)
    try:
        if files == [path]:
            return ids.file_fingerprint(path)
        return ids.content_id("prompts", 1, files=[[f.name, ids.file_fingerprint(f)] for f in files])
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from error


def iter_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Each row with its place: "" in a single file, "NAME, row N" in a directory.

    `columns` are the Parquet columns to read; the first must exist.

    Raises:
        InputError: see `files_of`; or a file is damaged, or in another format than its name says.
    """
    files = files_of(path)
    for file in files:
        for number, row in enumerate(_rows(file, columns), start=1):
            yield "" if files == [path] else f"{file.name}, row {number}", row


def _is_listed(path: Path) -> bool:
    """Broken links count too: otherwise their rows would be lost silently."""
    return not path.is_dir() and not path.name.startswith((".", "_"))


def _kind(path: Path) -> tuple[str, bool]:
    """The lower-case suffix of a file's format, and whether the file is gzipped."""
    name = path.name.lower()
    return Path(name.removesuffix(".gz")).suffix, name.endswith(".gz")


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    kind, packed = _kind(path)
    if kind != ".parquet":
        return _text_rows(path, kind, packed=packed)
    if packed:
        raise InputError(f"{path}: Parquet is not read from .gz. Unpack the file: gunzip {path.name}")
    return _parquet_rows(path, columns)


def _text_rows(path: Path, kind: str, *, packed: bool) -> Iterator[Row]:
    number = 0
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            head = file.peek(_HEAD_BYTES)
            _check_format(path, head)
            is_document = kind == ".json" and not json_rows.is_a_row_a_line(head)
            rows_of = json_rows.rows_of_document if is_document else json_rows.rows_of_lines
            for number, row in enumerate(rows_of(cast(IO[bytes], file)), start=1):  # noqa: B007
                yield row
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        why = "the file ends too early" if isinstance(error, EOFError) else str(error)
        raise InputError(f"{path}: not readable after row {number}: {why}. Copy the file again.") from error


def _check_format(path: Path, head: bytes) -> None:
    """Raise InputError if the first bytes show another format than UTF-8 text."""
    for magic, kind, remedy in _OTHER_FORMATS:
        if head.startswith(magic):
            raise InputError(f"this is {kind}, and {remedy.format(name=path.name)}")
    encoding = json.detect_encoding(head)  # without a byte order mark, it guesses from zeros
    has_mark = encoding in ("utf-16", "utf-32")
    if has_mark or (encoding[:5] != "utf-8" and head[:4].strip(b"\0").startswith(_JSON_STARTS)):
        name = encoding[:6].upper()
        raise InputError(
            f"this is {name} text, and prompts are read as UTF-8. Convert it: iconv -f {name} -t UTF-8 "
            f"{path.name} > utf8-{path.name}"
        )


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    damaged = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError)
    try:
        with path.open("rb") as start:
            _check_format(path, b"" if (head := start.read(_HEAD_BYTES)).startswith(b"PAR1") else head)
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except damaged as error:
        raise InputError(f"{path}: not a readable Parquet file: {str(error).strip()}") from error
    wanted = columns[0]
    if wanted not in names:
        known = ", ".join(sorted(names)[:_NAMES_SHOWN])
        raise InputError(
            f"{path}: no column {wanted!r}; it has {known}. Set prompts.prompt_field to one of them."
        )
    if twice := next((name for name in columns if names.count(name) > 1), None):
        raise InputError(f"{path}: has {names.count(twice)} columns named {twice!r}. Keep one of them.")
    number = 0
    try:
        for batch in file.iter_batches(_PARQUET_ROWS, columns=[name for name in columns if name in names]):
            for row in batch.to_pylist():
                number += 1
                yield row
    except damaged as error:
        raise InputError(
            f"{path}: not readable after row {number}: {str(error).strip()}. Write the file again."
        ) from error
