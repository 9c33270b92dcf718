"""Standard output and error that never end a run, whatever happens to their other end.

Characters that a terminal's code page lacks are replaced ("SFT on Y~" for "SFT on Ỹ"). If the pipe is closed,
the disk is full or the terminal is gone, the run continues without output, and `lost` returns the reason.
"""

import codecs
import os
import sys
import unicodedata
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console

_ERRORS = "figa.plain"
_PLAIN = {
    "\N{COMBINING CIRCUMFLEX ACCENT}": "^",
    "\N{COMBINING TILDE}": "~",
    "→": "->",
    "±": "+/-",
    "−": "-",
    "–": "-",
    "—": "-",
    "─": "-",
    "━": "-",
    "█": "#",
    "·": ".",
    "…": "...",
    "×": "x",
    "≤": "<=",
    "≥": ">=",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "η": "eta",
}


def console(*, stderr: bool = False) -> Console:
    """The console of a command. COLUMNS=0, which some shells set without a terminal, is ignored.

    At width 0 nothing would be printed, not even errors.
    """
    if os.environ.get("COLUMNS", "").strip().strip("0") == "":
        os.environ.pop("COLUMNS", None)  # Typer's help and errors look at it too
    return Console(stderr=stderr, soft_wrap=True)


def prepare() -> None:
    """Replace `sys.stdout` and `sys.stderr` by such streams."""
    _open_closed_descriptors()
    codecs.register_error(_ERRORS, _replace_by_ascii)
    sys.stdout = _steady(sys.stdout)
    sys.stderr = _steady(sys.stderr)


def lost() -> str | None:
    """Why some of the standard output was lost; None if nothing was.

    A reader that closes the pipe early (`figa status | head -1`) has read what it needs.
    """
    stream = sys.stdout
    return stream.failure if isinstance(stream, _Steady) else None


def _open_closed_descriptors() -> None:
    """Otherwise the next opened file would become standard output, and lines would be printed into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _steady(stream: TextIO | None) -> TextIO:
    if stream is None:
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, _Steady):
        return cast(TextIO, stream)
    if reconfigure := getattr(stream, "reconfigure", None):
        reconfigure(errors=_ERRORS)
    return cast(TextIO, _Steady(stream))


class _Steady:
    """A text stream that discards its text once its other end is gone; `failure` is why, if it matters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: str | None = None

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: somebody closed it
            self._discard(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._discard(error)

    def _discard(self, error: OSError | ValueError) -> None:
        """The text in the stream's buffer is discarded too, so that it causes no error later."""
        if not isinstance(error, BrokenPipeError):
            self.failure = self.failure or getattr(error, "strerror", None) or str(error)
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):
            self._stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _replace_by_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that a code page lacks by ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(character) for character in error.object[error.start : error.end]), error.end


def _plain(character: str) -> str:
    if found := _PLAIN.get(character):
        return found
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(_PLAIN.get(part, part if part.isascii() else "") for part in parts)
    return plain or ("" if unicodedata.combining(character) else "?")
