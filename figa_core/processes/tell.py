"""In a child process: marks the messages that people should see, so that its run logs them (`log.py`).

Libraries print a lot, each in its own format, and one line in a hundred is for people. So their output is not
searched: `tell_troubles` sees every log record, warning and uncaught exception as it is made, and writes the
important ones a second time, marked. Progress bars, INFO records, deprecations and the warnings that our own
settings cause in every healthy run are not important.
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
# The first line of a message may name a level and the rank; the others follow with a prefix.
FIRST = re.compile(MARK + r"(?: (?P<level>warning|error))?(?: (?P<origin>rank\d+))?: (?P<text>.*)")
NEXT = MARK + "| "
_LEVELS = {logging.INFO: "", logging.WARNING: " warning", logging.ERROR: " error"}
_LONGEST = 20_000
# Warnings of every healthy run. vLLM's on a CPU follow from the settings that `vllm_worker` chooses there and
# from packages that the CPU build must not have. The one about the tokenizer is from trainings by TRL, which
# changes the configuration; the exported model has its base's. So is the next: samples without a reward are
# counted, and told of at the end. The last but one is bitsandbytes' (its 4-bit
# products on a CPU), whenever peft finds it. The last is torchrun's, when it ends the other
# ranks because of one whose own error explains more.
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
    | tokenizer\ has\ new\ PAD/BOS/EOS\ tokens
    | All\ reward\ functions\ returned\ None
    | Failed\ to\ load\ CPU\ gemm_4bit_forward
    | Sending\ process\ \d+\ closing\ signal""",
    re.VERBOSE,
)


def tell(text: str, level: int = logging.INFO) -> None:
    """Write a message for the run's log, at one of three levels. Short, and not often."""
    if level == logging.WARNING and _EXPECTED.search(text):
        return
    rank = os.environ.get("RANK")
    origin = f" rank{rank}" if rank and level > logging.INFO else ""
    first, *others = text[:_LONGEST].splitlines() or [""]
    lines = [f"{MARK}{_LEVELS[level]}{origin}: {first}", *(NEXT + line for line in others)]
    # In one piece, so that ranks do not mix; a progress bar may have left a line open.
    with contextlib.suppress(OSError):  # nobody reads
        os.write(1, ("\n" + "\n".join(lines) + "\n").encode(errors="backslashreplace"))


def tell_troubles() -> None:
    """From now on tell all warnings and errors of libraries, and exceptions that end a thread or process.

    Call it before libraries are imported. Their own output is unchanged and follows the marked message, so a
    log's last lines show why its process died.
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
        return  # its arguments do not fit its message: logging reports that itself
    if record.exc_info and (error := record.exc_info[1]) is not None:
        text += "\n" + _in_words(error)
    tell(text, logging.ERROR if record.levelno >= logging.ERROR else logging.WARNING)


def _in_words(error: BaseException) -> str:
    """The message first, then the traceback."""
    message = "".join(traceback.format_exception_only(error))
    return message + "".join(traceback.format_exception(error)).removesuffix(message)
