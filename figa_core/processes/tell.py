"""In a child process: say what people should know, so that the run that started it logs it (`log.py`).

Libraries write a wall of text, each in a format of its own, in which one line in a hundred is for people. So
nothing is searched for in it: `tell_troubles` sees every log record, warning and uncaught exception as it is
made, and writes those that matter a second time, marked. Progress bars, INFO records, announcements of
deprecations and the warnings that our own settings provoke in every healthy run do not matter.
"""

import contextlib
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from typing import Any

MARK = "figa"
# A line of a message: the first may name a level, and the rank that says it; the others follow it.
FIRST = re.compile(MARK + r"(?: (?P<level>warning|error))?(?: (?P<origin>rank\d+))?: (?P<text>.*)")
NEXT = MARK + "| "
_LEVELS = {logging.INFO: "", logging.WARNING: " warning", logging.ERROR: " error"}
_LONGEST = 20_000
# Warnings of every healthy run. What vLLM warns of on a CPU follows from the settings that `vllm_worker`
# chooses there and from packages that the CPU build must not have. The last one is torchrun's, when it ends
# the other ranks because of one whose error says more.
_EXPECTED = re.compile(
    r"""[Dd]eprecat
    | FutureWarning
    | Setting\ accelerator\ to\ CPU
    | global\ random\ seed\ is\ set\ to\ \d+
    | does\ not\ officially\ support\ disabling\ chunked\ prefill
    | Enforce\ eager\ set
    | Inductor\ compilation\ was\ disabled\ by\ user\ settings
    | Reset\ SSM\ cache\ type
    | [Tt]riton\ (?:is\ )?not\ (?:installed|available)
    | requires\ Triton;\ using\ the\ V1\ model\ runner
    | lib(?:tcmalloc|iomp)\ is\ not\ found\ in\ LD_PRELOAD
    | torch\.set_num_threads
    | Sending\ process\ \d+\ closing\ signal""",
    re.VERBOSE,
)


def tell(text: str, level: int = logging.INFO) -> None:
    """Say something that belongs in the run's log, at one of three levels. Short, and not often."""
    if level == logging.WARNING and _EXPECTED.search(text):
        return
    rank = os.environ.get("RANK")
    origin = f" rank{rank}" if rank and level > logging.INFO else ""
    first, *others = text[:_LONGEST].splitlines() or [""]
    lines = [f"{MARK}{_LEVELS[level]}{origin}: {first}", *(NEXT + line for line in others)]
    # In one piece, so that no other rank's words come between; a progress bar may have left a line open.
    with contextlib.suppress(OSError):  # nobody reads
        os.write(1, ("\n" + "\n".join(lines) + "\n").encode(errors="backslashreplace"))


def tell_troubles() -> None:
    """From now on tell all warnings and errors of libraries, and what ends a thread or the process.

    Call it before libraries are imported. What they print stays as it is, and comes after what is told of it:
    a log's last lines say what its process died of.
    """
    make_record, show_warning = logging.getLogRecordFactory(), warnings.showwarning
    hook, thread_hook = sys.excepthook, threading.excepthook

    def record_made(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make_record(*arguments, **named)
        if record.levelno >= logging.WARNING:
            _tell_record(record)
        return record

    def warning_shown(message: Warning | str, category: type[Warning], *arguments: Any, **named: Any) -> None:
        tell(f"{category.__name__}: {message}", logging.WARNING)
        show_warning(message, category, *arguments, **named)

    def process_ends(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        tell(_in_words(error), logging.ERROR)
        hook(kind, error, trace)

    def thread_ends(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            tell(_in_words(arguments.exc_value), logging.ERROR)
        thread_hook(arguments)

    logging.setLogRecordFactory(record_made)
    warnings.showwarning = warning_shown
    sys.excepthook, threading.excepthook = process_ends, thread_ends


def _tell_record(record: logging.LogRecord) -> None:
    try:
        text = record.getMessage()
    except Exception:
        return  # its arguments do not fit its message: logging says so itself
    if record.exc_info and (error := record.exc_info[1]) is not None:
        text += "\n" + _in_words(error)
    tell(text, logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING)


def _in_words(error: BaseException) -> str:
    """What happened, then where."""
    what = "".join(traceback.format_exception_only(error))
    where = "".join(traceback.format_exception(error)).removesuffix(what)
    return what + where
