"""Reads files of prompts as a stream of rows: JSON lines or arrays, plain or gzipped, and Parquet.

A directory means the files in it, in the order of their names. A file's name says what kind it is. If its
first bytes disagree, or are not UTF-8, the file is refused with a message that says what it really is.
"""

import codecs
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from figa_core import ids
from figa_core.errors import InputError
from figa_core.files import require_regular
from figa_core.prompts import json_rows

KINDS = (".jsonl", ".ndjson", ".json", ".parquet")
_PACKED = ".gz"
_SUPPORTED = ".jsonl, .ndjson, .json (each also as .gz) or .parquet"
_PARQUET_ROWS = 1024
_NAMES_SHOWN = 12
_HEAD_BYTES = 2**16
_OTHER_FORMATS = (
    (codecs.BOM_UTF32_LE, "UTF-32 text"),
    (codecs.BOM_UTF32_BE, "UTF-32 text"),
    (codecs.BOM_UTF16_LE, "UTF-16 text"),
    (codecs.BOM_UTF16_BE, "UTF-16 text"),
    (b"\x1f\x8b", "compressed with gzip"),
    (b"PAR1", "a Parquet file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"BZh", "compressed with bzip2"),
)
_TEXT_STARTS = b'{[" \t\r\n'

Row = Mapping[str, Any] | str
"""A row's fields, or the reason why it has none."""


def files_of(path: Path) -> list[Path]:
    """The file itself, or the files of prompts in a directory, sorted by name.

    Raises:
        InputError: there is no such file, or none of a kind that can be read.
    """
    try:
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if _kind(p)[0] in KINDS and _is_meant(p))
            for file in files:
                require_regular(file)
            if not files:
                raise InputError(
                    f"{path}: no file of prompts in this directory. Prompts are read from {_SUPPORTED}."
                )
            return files
        found = path.exists()
        if found:
            require_regular(path)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read: {error.strerror}.") from error
    if not found:
        raise InputError(f"{path}: no such file of prompts. Set prompts.path to a {_SUPPORTED} file.")
    if _kind(path)[0] not in KINDS:
        raise InputError(
            f"{path}: unknown kind of file {path.suffix!r}. Prompts are read from {_SUPPORTED}, or from a "
            "directory of such files."
        )
    return [path]


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

    Args:
        path: a file or a directory.
        columns: the Parquet columns to read; the first must exist.

    Raises:
        InputError: see `files_of`; or a file is damaged, or not what its name says.
    """
    files = files_of(path)
    for file in files:
        for number, row in enumerate(_rows(file, columns), start=1):
            yield "" if files == [path] else f"{file.name}, row {number}", row


def _is_meant(path: Path) -> bool:
    """Dangling links count, too: otherwise their rows would be lost silently."""
    return not path.is_dir() and not path.name.startswith((".", "_"))


def _kind(path: Path) -> tuple[str, bool]:
    """The lower-case suffix that says what a file holds, and whether it is gzipped."""
    name = path.name.lower()
    packed = name.endswith(_PACKED)
    return Path(name.removesuffix(_PACKED)).suffix, packed


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
            for number, row in enumerate(_json_rows(cast(IO[bytes], file), head, kind), start=1):  # noqa: B007
                yield row
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        why = "the file ends too early" if isinstance(error, EOFError) else str(error)
        raise InputError(
            f"{path}: not readable after row {number}: {why}. Copy or write the file again."
        ) from error


def _json_rows(file: IO[bytes], head: bytes, kind: str) -> Iterator[Row]:
    if kind == ".json" and not json_rows.is_a_row_a_line(head):
        return json_rows.rows_of_document(file)
    return json_rows.rows_of_lines(file)


def _check_format(path: Path, head: bytes) -> None:
    """Raises InputError where the first bytes are those of another format than UTF-8 text."""
    for magic, name in _OTHER_FORMATS:
        if head.startswith(magic):
            raise InputError(f"this is {name}, and {_remedy(name, path)}")
    # JSON begins with two ASCII characters, so zeros among the first bytes reveal the encoding.
    zeros = [byte == 0 for byte in head[:4]]
    for name, places in (
        ("UTF-32", [False, True, True, True]),
        ("UTF-32", [True, True, True, False]),
        ("UTF-16", [False, True, False, True]),
        ("UTF-16", [True, False, True, False]),
    ):
        if zeros == places and head[:4].strip(b"\0")[:1] in _TEXT_STARTS:
            raise InputError(f"this is {name} text, and {_remedy(name, path)}")


def _remedy(name: str, path: Path) -> str:
    if name.startswith("UTF"):
        encoding = name.split()[0]
        return (
            f"prompts are read as UTF-8. Convert it: iconv -f {encoding} -t UTF-8 {path.name} > "
            f"utf8-{path.name}"
        )
    if "gzip" in name:
        return f"its name does not say so. Rename it to {path.name}.gz"
    if "Parquet" in name:
        return "its name does not say so. Rename it to end in .parquet"
    return f"prompts are read from {_SUPPORTED}. Unpack it first"


def _parquet_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    damaged = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError, KeyError)
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
    except damaged as error:
        raise InputError(f"{path}: not a readable Parquet file: {str(error).strip()}") from error
    wanted = columns[0]
    if wanted not in names:
        known = ", ".join(sorted(names)[:_NAMES_SHOWN])
        raise InputError(
            f"{path}: no column {wanted!r}; it has {known}. Set prompts.prompt_field to one of them."
        )
    number = 0
    try:
        for batch in file.iter_batches(_PARQUET_ROWS, columns=[name for name in columns if name in names]):
            for row in batch.to_pylist():
                number += 1
                yield row
    except damaged as error:
        raise InputError(
            f"{path}: not readable after row {number}: {str(error).strip()}. Write the file anew."
        ) from error
