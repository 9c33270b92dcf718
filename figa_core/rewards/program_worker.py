"""The process in which a user's reward program runs. `worker.py` starts it and speaks with it.

    python -m figa_core.rewards.program_worker FD

Lines of JSON go over the socket with this file descriptor: first the order (the function, where modules are
found, the memory), which is answered when the module is imported; then one row a line, and its answer.

The program is trusted not to be hostile, and nothing else: it may raise, hang, print, fork, take memory or
end the process. Whatever it starts ends with the row.
"""

import contextlib
import ctypes
import importlib
import inspect
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from figa_core.processes.children import die_with_parent
from figa_core.records import Message

CANNOT_SAY = "the program cannot say"
"""The reason of a row for which the program returns NaN."""
_PR_SET_CHILD_SUBREAPER = 36
_WORDS_MAX = 200


def main() -> None:
    die_with_parent()
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)
    os.register_at_fork(after_in_child=connection.close)  # a copy of this process answers nothing
    with connection.makefile("rw", encoding="ascii", newline="\n") as lines:
        order = json.loads(lines.readline())
        function, problem = _prepared(order)
        _tell(lines, {"problem": problem})
        if function is None:
            return
        started = _children()
        for line in lines:
            row = json.loads(line)
            _tell(lines, {"row": row["row"], **rate(function, row)})
            _end_children(started)


def rate(function: Callable[..., Any], row: dict[str, Any]) -> dict[str, Any]:
    """The value of one row, or the reason why there is none."""
    process = os.getpid()
    messages = tuple(map(Message.of, row["messages"]))
    try:
        return _read(function(messages, row["text"], **row["fields"]))
    except BaseException as error:  # a SystemExit in a user's code ends no worker
        return {"reason": f"the program raised {_words(error)}"}
    finally:
        if os.getpid() != process:  # the program forked, and this is the copy
            os._exit(0)


def _prepared(order: dict[str, Any]) -> tuple[Callable[..., Any] | None, str | None]:
    """The function, or what is wrong with it."""
    module_name, _, name = order["function"].partition(":")
    sys.path[:] = order["path"]
    _limit(order["memory_bytes"])
    try:
        function = getattr(importlib.import_module(module_name), name, None)
    except BaseException as error:
        return None, f"{module_name} cannot be imported: {_words(error)}"
    if not callable(function):
        return None, f"{module_name} has no function {name!r}"
    return function, _arguments_problem(function, order["fields"])


def _limit(memory_bytes: int) -> None:
    for limit, value in ((resource.RLIMIT_DATA, memory_bytes), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    if sys.platform == "linux":  # adopt what the program's own children leave behind
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _arguments_problem(function: Callable[..., Any], fields: list[str]) -> str | None:
    try:
        inspect.signature(function).bind((), "", **dict.fromkeys(fields))
    except TypeError as error:
        named = "".join(f", {field}" for field in fields)
        return f"it cannot be called with (messages, text{named}): {error}"
    except ValueError:  # a function in C without a signature
        return None
    return None


def _read(value: Any) -> dict[str, Any]:
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody awaited it
        return {"reason": "the program is an async function; make it an ordinary one"}
    if value is None or isinstance(value, (str, bytes)):
        return {"reason": f"the program returned {repr(value)[:_WORDS_MAX]}, which is no number"}
    try:
        number = float(value)  # tensors and numpy's numbers count
    except Exception:
        kind = type(value).__name__
        return {"reason": f"the program returned a value of type {kind}, which is no number"}
    if number != number:
        return {"reason": CANNOT_SAY}
    if number in (float("inf"), float("-inf")):
        return {"reason": f"the program returned {number:g}, which is not finite"}
    return {"value": number}


def _words(error: BaseException) -> str:
    kind = type(error).__name__
    with contextlib.suppress(Exception):  # of a broken __str__
        said = str(error).encode(errors="backslashreplace").decode()  # half a character cannot be stored
        words = " ".join(said.split()).rstrip(".")
        return f"{kind}: {words[:_WORDS_MAX]}" if words else kind
    return kind


def _tell(lines: Any, answer: dict[str, Any]) -> None:
    lines.write(json.dumps(answer) + "\n")
    lines.flush()


def _children() -> set[int]:
    """The pids of this process's children, as Linux knows them."""
    found: set[int] = set()
    for thread in Path("/proc/self/task").glob("*"):
        with contextlib.suppress(OSError):
            found.update(map(int, (thread / "children").read_text().split()))
    return found


def _end_children(started: Collection[int]) -> None:
    """End what the last row has started; `started` came with the module."""
    while new := _children().difference(started):
        for pid in new:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
