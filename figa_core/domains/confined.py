"""The process in which foreign code runs. A program of its own: it imports nothing of this package.

    python -I -S -B confined.py    (see `confinement`, which starts it and speaks with it)

The first line of the standard input is the order: source, name of the function, limits. Each further line has
arguments, and gets one line with the result. Nothing that the code returns or prints is trusted by the other
side, so the code may do with this process what it likes. What keeps it from everything else, from the surest
to the cheapest, is in `confine`; where the kernel or the user's rights do not allow one, the others remain.
"""

import ast
import contextlib
import ctypes
import importlib
import json
import math
import os
import platform
import resource
import signal
import sys

MODULES = frozenset(
    [
        "abc",
        "array",
        "bisect",
        "cmath",
        "collections",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "math",
        "numbers",
        "operator",
        "random",
        "re",
        "statistics",
        "string",
        "sys",
        "time",
        "typing",
    ]
)
"""What code may import: read before the file system is closed."""

_EVENTS = frozenset(
    [
        "import",
        "compile",
        "exec",
        "object.__getattr__",
        "object.__setattr__",
        "object.__delattr__",
        "builtins.id",
        "array.__new__",
        "sys._getframe",
        "sys.excepthook",
        "sys.unraisablehook",
        "time.sleep",
        "marshal.loads",
    ]
)
"""Audit events that harm nobody outside the process. Any other ends it, such as opening a file."""

_CLONE_NEWNET, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x40000000, 0x08000000, 0x10000000
_PDEATHSIG, _NO_NEW_PRIVILEGES = 1, 38
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446
_LANDLOCK_FILES = (1 << 13) - 1  # all of the first version
_LANDLOCK_MACHINES = ("x86_64", "aarch64")
_NOBODY = 61_000  # and the 4 096 above: users that own nothing
_FILES_OPEN_MAX = 16


def confine(memory_bytes: int, seconds: int) -> None:
    """Give up every right that code does not need."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() == 0:
        libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC)
        user = _NOBODY + os.getpid() % 4096  # root may fork without limit
        with contextlib.suppress(OSError):
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
    else:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET | _CLONE_NEWIPC)
    for limit, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _FILES_OPEN_MAX),
        (resource.RLIMIT_NPROC, 0),
    ):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (value, value))
    libc.prctl(_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _close_file_system(libc)


def _close_file_system(libc: ctypes.CDLL) -> None:
    """Landlock, where the kernel has it: no file can be opened, made or removed any more."""
    if platform.machine() not in _LANDLOCK_MACHINES:
        return
    handled = ctypes.c_uint64(_LANDLOCK_FILES)
    rules = libc.syscall(_LANDLOCK_CREATE, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if rules >= 0:
        libc.syscall(_LANDLOCK_RESTRICT, rules, 0)
        os.close(rules)


def _refuse(event: str, _: tuple[object, ...], leave: object = os._exit) -> None:
    if event not in _EVENTS:
        leave(3)  # type: ignore[operator]


def encode(value: object) -> object:
    """A value as JSON with its types; an object of any other type becomes its type's name."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return int(value) if isinstance(value, int) else {"f": repr(float(value))}
    for kind, mark in ((list, "l"), (tuple, "t"), (set, "s"), (frozenset, "s")):
        if isinstance(value, kind):
            return {mark: [encode(item) for item in value]}  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {"d": [[encode(key), encode(item)] for key, item in value.items()]}
    return {"?": type(value).__name__}


def decode(value: object) -> object:
    """The value that `encode` was given.

    Raises:
        ValueError, TypeError, KeyError: this is not what it wrote.
    """
    if not isinstance(value, dict):
        return value
    [(mark, content)] = value.items()
    if mark == "f":
        return float(content)
    if mark == "d":
        return {decode(key): decode(item) for key, item in content}
    if mark == "?":
        return object()
    return {"l": list, "t": tuple, "s": set}[mark](decode(item) for item in content)


def _imported(source: str) -> set[str]:
    """The modules that the code names, as far as it may have them."""
    names: set[str] = set()
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names & MODULES


def main() -> None:
    orders, results = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    order = json.loads(orders.readline())
    for name in _imported(order["source"]):
        importlib.import_module(name)
    confine(order["memory_bytes"], math.ceil(order["seconds"]) + 1)
    sys.addaudithook(_refuse)
    space: dict[str, object] = {"__name__": "answer"}
    exec(compile(order["source"], "answer", "exec"), space)
    function = space[order["function"]]
    print("ready", file=results, flush=True)
    for line in orders:
        arguments, names = decode(json.loads(line))  # type: ignore[misc]
        print(json.dumps(encode(function(*arguments, **names))), file=results, flush=True)  # type: ignore[operator]


if __name__ == "__main__":
    main()
