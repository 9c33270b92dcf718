"""Runs in lm-eval's environment, and asks it: which names lm-eval has a task, a group or a tag for.

`look_up` starts this module as ``python -m figa_core.harness.survey`` and gives it the question as JSON.
"""

import difflib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figa_core.errors import EngineError
from figa_core.files import write_whole
from figa_core.harness.environment import INSTALL, HarnessPython
from figa_core.harness.folder import tasks_hash
from figa_core.ids import content_id
from figa_core.processes.children import child_environment

CACHE = "figa-tasks.json"
_TIMEOUT_S = 300.0
_CLOSE = 3


@dataclass(frozen=True, slots=True)
class Survey:
    """What lm-eval knows of some names.

    Attributes:
        known: those that it has.
        own: those that are in the user's folder, or that have a task there.
        close: name that it does not have → names like it.
        silent: those with a task that does not say whether the model samples (`is_silent`).
    """

    known: frozenset[str] = frozenset()
    own: frozenset[str] = frozenset()
    close: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    silent: frozenset[str] = frozenset()


def look_up(harness: HarnessPython, names: Sequence[str], include_path: Path | None) -> Survey:
    """What lm-eval says of these names.

    It takes some seconds, because lm-eval reads the files of all its tasks. The answer is kept in a file in
    its environment, as long as the files in `include_path` are the same.

    Raises:
        EngineError: it does not answer.
        InputError: a file in `include_path` cannot be read.
    """
    files = "" if include_path is None else tasks_hash(include_path)
    question = content_id("survey", 3, release=harness.release, names=list(names), files=files)
    cache = harness.python.parent.parent / CACHE
    known = _cached(cache)
    if (found := _survey(known.get(question))) is None:
        answer = _ask(harness.python, names, include_path)
        if (found := _survey(answer)) is None:
            raise EngineError(f"{harness.python}: lm-eval's answer about its tasks cannot be read: {answer}.")
        with suppress(OSError):  # such as an environment that only its owner may change
            write_whole(cache, json.dumps({**known, question: answer}).encode())
    return found


def _ask(python: Path, names: Sequence[str], include_path: Path | None) -> object:
    question = {"names": list(names), "include_path": include_path and str(include_path)}
    try:
        answer = subprocess.run(
            [str(python), "-m", "figa_core.harness.survey"],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
            env=child_environment(HF_HUB_OFFLINE="1"),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineError(f"{python}: cannot ask lm-eval for its tasks: {error}.") from error
    lines = answer.stdout.decode(errors="replace").strip().splitlines()
    with suppress(ValueError, IndexError):
        return json.loads(lines[-1])
    last = answer.stderr.decode(errors="replace").strip().splitlines()[-3:]
    raise EngineError(
        f"{python}: lm-eval does not say which tasks it has; it ended with code {answer.returncode}: "
        f"{' / '.join(last) or 'no message'}. Make its environment again: `{INSTALL}`."
    )


def _cached(cache: Path) -> dict[str, object]:
    """The answers until now; none if the file is missing or damaged."""
    try:
        found = json.loads(cache.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _survey(answer: object) -> Survey | None:
    """The answer as a record; None if it is none."""
    match answer:
        case {"known": list(known), "own": list(own), "close": dict(close), "silent": list(silent)}:
            names = {name: tuple(others) for name, others in close.items()}
            return Survey(frozenset(known), frozenset(own), names, frozenset(silent))
    return None


def close_names(name: str, known: Sequence[str]) -> list[str]:
    """Names like this one, those that begin with it first."""
    beginning = sorted((other for other in known if other.startswith(name)), key=len)
    return list(dict.fromkeys([*beginning, *difflib.get_close_matches(name, known, n=_CLOSE)]))[:_CLOSE]


def main() -> None:
    """Answer the question on standard input by one line of JSON."""
    question = json.loads(sys.stdin.read())
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    folder = question["include_path"]
    index = TaskManager(include_path=folder).task_index
    known = [name for name in question["names"] if name in index]
    ours = set()
    if folder:
        ours = {name for name, entry in index.items() if _is_below(entry.yaml_path, Path(folder))}
    reached = {name: _reached(name, index) for name in known}
    silent = {name for name, entry in index.items() if is_silent(entry.cfg or {})}
    answer = {
        "known": known,
        "own": [name for name in known if ours & reached[name]],
        "silent": [name for name in known if silent & reached[name]],
        "close": {n: close_names(n, list(index)) for n in question["names"] if n not in index},
    }
    print(json.dumps(answer))


def is_silent(task: Mapping[str, Any]) -> bool:
    """Whether the model writes in a task that does not say whether it samples; tasks in Python may be such.

    Without any `generation_kwargs` lm-eval says for the task that it does not.
    """
    if "class" in task:
        return True
    said = task.get("generation_kwargs")
    writes = task.get("output_type") == "generate_until"
    return writes and isinstance(said, Mapping) and says_nothing_of_sampling(said)


def says_nothing_of_sampling(said: Mapping[str, Any]) -> bool:
    """Of a task's `generation_kwargs`."""
    return said.get("do_sample") is None and "temperature" not in said


def _reached(name: str, index: dict, seen: frozenset[str] = frozenset()) -> set[str]:
    """The name, and what a group or a tag of this name has in it."""
    entry = index.get(name)
    if entry is None or name in seen:
        return {name}
    listed = (entry.cfg or {}).get("task", ())
    children = set(members(listed))
    if entry.yaml_path is None:  # a tag, whose tasks are its `tags`
        children |= set(entry.tags)
    return {name}.union(*(_reached(child, index, seen | {name}) for child in children - {name}))


def members(listed: object) -> Iterator[str]:
    """The names in a group's list, whose entries may be tasks with settings, or groups with lists."""
    for entry in listed if isinstance(listed, list) else ():
        if isinstance(entry, dict):
            yield from members(entry.get("task"))
            yield from (entry[key] for key in ("task", "group") if isinstance(entry.get(key), str))
        else:
            yield str(entry)


def _is_below(path: Path | None, folder: Path) -> bool:
    return path is not None and Path(path).resolve().is_relative_to(folder.resolve())


if __name__ == "__main__":
    main()
