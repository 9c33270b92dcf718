"""A user's program in processes of its own: whatever it does costs one row its value, and no more."""

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from figa_core.errors import EngineError
from figa_core.ports import RewardRequest, RowFailure
from figa_core.processes.children import PARENT_PID_VARIABLE
from figa_core.records import Message
from figa_core.rewards.program import Program, processes_here
from figa_core.rewards.worker import ProgramSettings

HERE = Path(__file__).parent
AS_TOLD = ProgramSettings("programs_to_rate_with:as_told")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(HERE)


def requests(texts: Sequence[str], **fields: Any) -> list[RewardRequest]:
    messages = (Message("user", "a question"),)
    return [RewardRequest(str(number), messages, text, fields) for number, text in enumerate(texts)]


def rated(
    settings: ProgramSettings, rows: Sequence[RewardRequest], log: Path, processes: int = 1
) -> dict[str, float | str]:
    """Value or reason of each row, by its text."""
    with Program(settings, log, processes=processes) as program:
        found = [row for batch in program.score(rows) for row in batch]
    texts = {row.subject_id: row.text for row in rows}
    assert len(found) == len(rows)
    return {
        texts[row.row_id if isinstance(row, RowFailure) else row[0]]: (
            row.reason if isinstance(row, RowFailure) else row[1]
        )
        for row in found
    }


def test_a_program_gets_messages_text_and_the_fields_that_were_asked_for(tmp_path: Path) -> None:
    right = ProgramSettings("programs_to_rate_with:right", fields=("answer", "reference"))
    rows = requests(["42", "forty-two", "7"], answer=42, reference="forty-two", other="unused")
    assert rated(right, rows, tmp_path / "log") == {"42": 1.0, "forty-two": 1.0, "7": 0.0}
    length = ProgramSettings("programs_to_rate_with:length")
    assert rated(length, requests(["four", "é\ud800"]), tmp_path / "log") == {"four": 1.4, "é\ud800": 1.2}


def test_a_program_gets_what_messages_have_besides_their_content(tmp_path: Path) -> None:
    message = Message.of({"role": "assistant", "content": "", "tool_calls": [{"name": "weather"}]})
    row = RewardRequest("0", (message,), "It rains.", {})
    assert rated(ProgramSettings("programs_to_rate_with:called"), [row], tmp_path / "log") == {
        "It rains.": 1.0
    }


def test_what_a_program_does_wrong_costs_that_row_its_value_and_no_other_row(tmp_path: Path) -> None:
    found = rated(
        AS_TOLD,
        requests(
            ["raise", "raise half", "exit", "end", "crash", "none", "text", "object", "infinity", "nan",
             "later", "true", "fork", "scribble", "eat", "a usual row"]
        ),
        tmp_path / "log",
        processes=2,
    )  # fmt: skip
    assert found == {
        "raise": "the program raised ValueError: no, thank you",
        "raise half": "the program raised ValueError: half \\ud83d",
        "exit": "the program raised SystemExit: enough",
        "end": "the program ended its process (exit code 3)",
        "crash": "the program ended its process (SIGSEGV)",
        "none": "the program returned None, which is no number",
        "text": "the program returned '0.5', which is no number",
        "object": "the program returned a value of type object, which is no number",
        "infinity": "the program returned inf, which is not finite",
        "nan": "the program cannot say",
        "later": "the program is an async function; make it an ordinary one",
        "true": 1.0,
        "fork": 5.0,
        "scribble": "the program wrote over its answers",
        "eat": "the program raised MemoryError",
        "a usual row": 11.0,
    }


def test_a_row_that_hangs_ends_at_its_time_limit(tmp_path: Path) -> None:
    quick = replace(AS_TOLD, time_limit_s=1.0)
    found = rated(quick, requests(["a", "hang", "bb"]), tmp_path / "log")
    assert found == {"a": 1.0, "hang": "the program took more than 1 s", "bb": 2.0}


def test_memory_that_is_shared_counts_too(tmp_path: Path) -> None:
    small = replace(AS_TOLD, memory_limit_mib=256)
    found = rated(small, requests(["eat shared", "a"]), tmp_path / "log")
    assert found == {"eat shared": "the program took more than 256 MiB of memory", "a": 1.0}


def test_a_fork_bomb_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    found = rated(AS_TOLD, requests(["bomb", "a"]), tmp_path / "log")
    assert found == {"bomb": "the program started more than 64 processes", "a": 1.0}
    assert not _workers_of_this_test()


def test_what_a_row_has_started_ends_with_the_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIGA_TEST_PID_FILE", str(tmp_path / "pid"))
    with Program(AS_TOLD, tmp_path / "log") as program:
        rows = program.score(requests(["start", "fork and stay"]))
        assert sorted(row[1] for batch in rows for row in batch if not isinstance(row, RowFailure)) == [
            6.0,
            7.0,
        ]
        [worker] = program._workers
        assert worker._child is not None
        deadline = time.monotonic() + 10  # the answer is sent before they are ended
        while psutil.Process(worker._child.pid).children(recursive=True):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_a_row_after_one_that_left_a_thread_is_not_blamed_for_it(tmp_path: Path) -> None:
    with Program(AS_TOLD, tmp_path / "log") as program:
        [[first]] = program.score(requests(["end soon"]))
        [worker] = program._workers
        assert worker._child is not None
        worker._child.wait_until(lambda: False, timeout_s=10)
        [[second]] = program.score(requests(["a"]))
    assert (first, second) == (("0", 8.0), ("0", 1.0))


@pytest.mark.parametrize(
    ("function", "fields", "words"),
    [
        ("no_such_module:f", (), "no_such_module cannot be imported: ModuleNotFoundError"),
        ("programs_that_end:f", (), "the program ended its process"),
        ("programs_to_rate_with:nothing", (), "programs_to_rate_with has no function 'nothing'"),
        ("programs_to_rate_with:length", ("answer",), "cannot be called with (messages, text, answer)"),
        ("programs_to_rate_with:right", (), "missing a required argument: 'answer'"),
    ],
)
def test_a_program_that_cannot_be_used_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, fields: tuple[str, ...], words: str
) -> None:
    (tmp_path / "programs_that_end.py").write_text("import os\nprint('so long')\nos._exit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(EngineError) as caught,
        Program(ProgramSettings(function, fields), tmp_path / "log") as p,
    ):
        list(p.score(requests(["a", "b"])))
    assert words in str(caught.value)
    assert "PYTHONPATH" in str(caught.value)


def test_leaving_early_ends_every_process(tmp_path: Path) -> None:
    with Program(AS_TOLD, tmp_path / "log", processes=2) as program:
        next(program.score(requests(["a"] * 600)))
        pids = [worker._child.pid for worker in program._workers if worker._child]
    assert pids
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_there_are_as_many_processes_as_cores_unless_it_is_said() -> None:
    assert processes_here(3) == 3
    assert 1 <= processes_here(None) <= min(8, len(os.sched_getaffinity(0)))


def _workers_of_this_test() -> list[int]:
    """Processes with the worker's command line that this one, or a copy of one that it started, has left."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            of_us = process.environ().get(PARENT_PID_VARIABLE) == str(os.getpid())
            if of_us and "figa_core.rewards.program_worker" in (process.info["cmdline"] or []):
                found.append(process.pid)
    return found
