"""What the lines are that our children write: the formats of vLLM, DeepSpeed, torch, transformers and Python.

Their logs are a wall in which one line in a hundred is for people. Errors, warnings and what our own code
says (`OWN`) are told; progress bars, INFO lines, announcements of deprecations and the warnings that our own
settings provoke in every healthy run are not.
"""

import logging
import re
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

OWN = "figa: "  # how a line of ours begins that is meant for people

# By the first letter of their names. What libraries call INFO is not for people.
_LEVELS = {"W": logging.WARNING, "E": logging.ERROR, "C": logging.ERROR, "F": logging.ERROR}
_NAME = r"(?P<level>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL|FATAL)"
_ORIGIN = re.compile(r"(?:\[(rank\d+)\]:|\((\w+) pid=\d+\)) ?")
_MAIN_PROCESS = "MainProcess"  # vLLM's name for the process that we started: not worth naming
_COLOURS = re.compile(r"\x1b\[[\d;]*m")

# Lines that state their level.
_STATED = tuple(
    re.compile(pattern)
    for pattern in (
        _NAME + r" \d\d-\d\d [\d:]{8} \[[^\]]+\] ?(?P<text>.*)",  # vLLM
        rf"\[\d{{4}}-\d\d-\d\d [\d:,]+\] \[{_NAME}\] \[[^\]]+\] ?(?P<text>.*)",  # DeepSpeed
        r"\[?(?P<level>[VDIWECF])\d{4} [\d:.]+ [^\]]+\] ?(?P<text>.*)",  # torch, in Python and C++
        rf"\[{_NAME}\|[^\]]+\] [-\d:, ]+>> (?P<text>.*)",  # transformers, asked for details
        r".* NCCL (?P<level>WARN) (?P<text>.*)",
        _NAME + r":[\w.]+:(?P<text>.*)",  # logging.basicConfig
        rf"\d{{4}}-\d\d-\d\d[ T][\d:.,]+ (?:- )?(?:\S+ - )?{_NAME}\b[ :-]*(?P<text>.*)",
    )
)
# Lines whose form says what they are.
_FORMS = tuple(
    (re.compile(pattern), level)
    for pattern, level in (
        (rf"{OWN}(.+)", logging.INFO),
        (r"\[transformers\] (.+)", logging.WARNING),  # shows nothing below warnings
        (r"(\S+ +\| (?:MISSING|MISMATCH)\b.*)", logging.WARNING),  # its table of weights it did not find
        (r"\S.*:\d+: (\w*Warning: .+)", logging.WARNING),
        (r"((?:\w+\.)*[A-Z]\w*(?:Error|Exception): .+)", logging.ERROR),
        (r"((?:Fatal Python error|Segmentation fault|Bus error|terminate called).*)", logging.ERROR),
        (r"(?:error|Error|ERROR|fatal|FATAL): ?(.+)", logging.ERROR),
        (r"(?:warning|Warning|WARNING): ?(.+)", logging.WARNING),
    )
)
# Warnings of every healthy run. What vLLM warns of on a CPU follows from the settings that `vllm_worker`
# chooses there and from packages that the CPU build must not have. The last one is torchrun's, when it ends
# the other ranks because of one whose error says more.
_EXPECTED = re.compile(
    "|".join(
        (
            r"[Dd]eprecat",
            r"FutureWarning",
            r"Setting accelerator to CPU",
            r"global random seed is set to \d+",
            r"does not officially support disabling chunked prefill",
            r"Enforce eager set",
            r"Inductor compilation was disabled by user settings",
            r"[Tt]riton (?:is )?not (?:installed|available)",
            r"requires Triton; using the V1 model runner",
            r"NUMA binding",
            r"lib(?:tcmalloc|iomp) is not found in LD_PRELOAD",
            r"torch\.set_num_threads",
            r"Sending process \d+ closing signal",
        )
    )
)

_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:: |:?$)")
_LONGEST_TRACEBACK = 200


class Message(NamedTuple):
    """Something for people: its level in `logging`, the rank or process that said it ("" is the main one)."""

    level: int
    origin: str
    text: str


class _Line(NamedTuple):
    origin: str
    level: int | None  # None: it states none
    text: str


class LineReader:
    """Makes messages of lines; a traceback is one message, also where the lines of two ranks are mixed."""

    def __init__(self) -> None:
        self._open: dict[str, _Traceback] = {}

    def read(self, line: str) -> Iterator[Message]:
        """The messages that are complete with this line."""
        parsed = _parse(_COLOURS.sub("", line))
        if not parsed.text.strip():
            return
        traceback = self._open.get(parsed.origin)
        if traceback is not None:
            if traceback.takes(parsed):
                return
            if traceback.complete:
                yield from self._close(parsed.origin)
        if parsed.text.startswith(_TRACEBACK):
            self._open[parsed.origin] = _Traceback(parsed)
        elif message := _message(parsed):
            yield from self.pause()  # what was complete before it comes before it
            yield message

    def pause(self) -> Iterator[Message]:
        """Tracebacks that are complete, as far as one can tell while nothing is written."""
        for origin in [origin for origin, traceback in self._open.items() if traceback.complete]:
            yield from self._close(origin)

    def end(self) -> Iterator[Message]:
        """What is left, torn tracebacks included."""
        for origin in list(self._open):
            yield from self._close(origin)

    def _close(self, origin: str) -> Iterator[Message]:
        traceback = self._open.pop(origin)
        if traceback.level >= logging.WARNING:
            yield Message(traceback.level, origin, traceback.text())


class _Traceback:
    """The lines of one traceback, or of several that follow from one another."""

    def __init__(self, first: _Line) -> None:
        self._stated = first.level
        self.level = logging.ERROR if first.level is None else first.level
        self._where = deque([first.text], maxlen=_LONGEST_TRACEBACK)
        self._what: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether its exception is known."""
        return bool(self._what)

    def takes(self, line: _Line) -> bool:
        """Add a line of the same origin if it belongs to the traceback."""
        if line.level != self._stated:
            return False
        if line.text.startswith((_TRACEBACK, *_CHAINED)):
            self._where.extend([*self._what, line.text])
            self._what = []
        elif line.text[0].isspace():
            if len(self._what) < _LONGEST_TRACEBACK:
                (self._what or self._where).append(line.text)
        elif not self._what and _EXCEPTION.match(line.text):
            self._what = [line.text]
        else:
            return False
        return True

    def text(self) -> str:
        """What happened, then where."""
        return "\n".join([*self._what, *self._where])


def _parse(line: str) -> _Line:
    origin = ""
    while found := _ORIGIN.match(line):
        origin = found[1] or found[2]
        line = line[found.end() :]
    origin = "" if origin == _MAIN_PROCESS else origin
    for pattern in _STATED:
        if found := pattern.fullmatch(line):
            return _Line(origin, _LEVELS.get(found["level"][0], logging.DEBUG), found["text"])
    return _Line(origin, None, line)


def _message(line: _Line) -> Message | None:
    level, text = line.level, line.text
    if level is None:
        level, text = _by_form(text)
    expected = level == logging.WARNING and _EXPECTED.search(text)
    if level < logging.INFO or expected:
        return None
    return Message(level, line.origin, text.strip())


def _by_form(text: str) -> tuple[int, str]:
    for pattern, level in _FORMS:
        if found := pattern.fullmatch(text):
            return level, found[1]
    return logging.DEBUG, text
