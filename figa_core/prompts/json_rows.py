"""Splits JSON files into rows: one line, or one element of an array, at a time.

It also accepts what Python's json module writes and the standard does not allow: NaN and Infinity, integers
of any length, lone surrogates. The callers decide which of these are valid in a field.
"""

import codecs
import json
import re
from collections.abc import Iterator
from itertools import chain, islice
from typing import IO, Any

import orjson

from figa_core.errors import InputError

MOST_ROW_BYTES = 2**26
"""A longer line or element means another kind of file; it is never held in memory."""
_CHUNK_BYTES = 2**20
_BOM = codecs.BOM_UTF8
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?P<end>"?)|[\[\]{},]', re.DOTALL)
_TOO_LONG = f"not a row: longer than {MOST_ROW_BYTES // 2**20} MiB"

Row = dict[str, Any] | str
"""An object, or the reason why the row is not one."""


def parse_object(text: bytes) -> Row:
    """The JSON object in `text`, or what is wrong with it; raises nothing."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(text.decode(), strict=False, parse_int=_whole_number)
        except UnicodeDecodeError as error:
            return (
                f"not UTF-8: byte 0x{text[error.start]:02x} at column {error.start + 1}, as in Latin-1 or "
                "Windows-1252. Save the file as UTF-8"
            )
        except json.JSONDecodeError as error:
            return f"not valid JSON: {error.msg} at column {error.colno}"
        except RecursionError:
            return "not valid JSON: nested too deeply"
    return value if isinstance(value, dict) else "not a JSON object"


def _whole_number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        return float(digits)


def rows_of_lines(file: IO[bytes]) -> Iterator[Row]:
    """The rows of a file with one JSON object per line; empty lines are skipped.

    Raises:
        InputError: the whole file is one JSON array.
    """
    lines = _lines(file)
    first = list(islice(lines, 2))
    if first and first[0] is not None and _opens_an_array(first[0], alone=len(first) == 1):
        raise InputError(
            "holds one JSON array, but every line must be a JSON object. Give the file a name that ends in "
            ".json, or write one object per line."
        )
    for line in chain(first, lines):
        yield _TOO_LONG if line is None else parse_object(line)


def rows_of_document(file: IO[bytes]) -> Iterator[Row]:
    """The rows of a .json file: the elements of an array, or objects one after another.

    Raises:
        InputError: an element is longer than `MOST_ROW_BYTES`.
    """
    splitter = _Splitter()
    while chunk := file.read(_CHUNK_BYTES):
        yield from map(parse_object, splitter.feed(chunk))
    rest = [parse_object(text) for text in _with_content(splitter.rest)]
    yield from rest
    if splitter.in_array and not any(isinstance(row, str) for row in rest):
        yield "the file ends within its JSON array, as one does that was cut off"


def is_a_row_a_line(head: bytes) -> bool:
    """Whether the first line of `head` is a whole JSON object: then a broken line affects only itself."""
    line, end, _ = head.removeprefix(_BOM).lstrip().partition(b"\n")
    return bool(end) and line.startswith(b"{") and isinstance(parse_object(line), dict)


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """The lines that are not empty; None for one that is too long."""
    while line := file.readline(MOST_ROW_BYTES):
        if len(line) == MOST_ROW_BYTES and not line.endswith(b"\n"):
            while line and not line.endswith(b"\n"):
                line = file.readline(MOST_ROW_BYTES)
            yield None
            continue
        line = line.removeprefix(_BOM).strip()
        if line:
            yield line


def _opens_an_array(line: bytes, *, alone: bool) -> bool:
    if not line.startswith(b"["):
        return False
    return line == b"[" or line.endswith((b",", b"{")) or (alone and line.endswith(b"]"))


class _Splitter:
    """Splits a stream of JSON into the texts of its rows, holding one row at a time.

    It reads only brackets, commas and strings; rows are validated when they are parsed.
    """

    def __init__(self) -> None:
        self.rest = b""  # the text after the last row
        self.in_array = False  # within the outermost array, whose elements are the rows
        self._scanned = 0  # of `rest`
        self._depth = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The rows that end within this chunk."""
        text = self.rest + chunk
        start, scanned = 0, len(text)
        for token in _TOKEN.finditer(text, self._scanned):
            mark = token[0][:1]
            if mark == b'"':
                if not token["end"]:
                    scanned = token.start()  # the string continues in the next chunk
                continue
            end = self._row_end(mark, token)
            if end is not None:
                yield from _with_content(text[start:end])
                start = token.end()
        if len(text) - start > MOST_ROW_BYTES:
            raise InputError(f"{_TOO_LONG}. Write one object per line, in a file that ends in .jsonl.")
        self.rest, self._scanned = text[start:], scanned - start

    def _row_end(self, mark: bytes, token: re.Match[bytes]) -> int | None:
        """Where a row ends, if it ends at this token."""
        if mark in b"[{":
            self._depth += 1
            if mark == b"[" and self._depth == 1 and not self.in_array:
                self.in_array = True
                return token.start()
            return None
        if mark == b",":
            return token.start() if self._depth == int(self.in_array) else None
        self._depth = max(0, self._depth - 1)
        if self._depth == 0 and self.in_array:
            self.in_array = False
            return token.start()
        return token.end() if self._depth == 0 else None


def _with_content(text: bytes) -> Iterator[bytes]:
    text = text.strip().removeprefix(_BOM).strip()
    if text:
        yield text
