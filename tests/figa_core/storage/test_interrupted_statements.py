"""A signal ends a query at once, and never a transaction."""

import signal
import subprocess
import sys
import time

import pytest

from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption
from figa_core.storage.database import Database
from tests.figa_core.processes.test_interruptible import signalled_until_it_ends
from tests.figa_core.storage.empty import empty_database, marks  # noqa: F401 - a fixture

ENDLESS = """
import os, signal, sys, threading
from pathlib import Path
from figa_core.errors import InterruptedRunError
from figa_core.processes import interruption
from figa_core.storage.database import Database

with interruption.listening(), interruption.{around}():
    try:
        with Database(Path(sys.argv[1])).{opened}() as connection:
            # With several threads, one of DuckDB's runs the whole of such a simple statement, and the main
            # thread waits for it in C code.
            connection.execute("SET threads = 4")
            print("ready", flush=True)
            connection.execute("SELECT sum(a.i * b.i) FROM range(100000000) a(i), range(100000000) b(i)")
    except InterruptedRunError as error:
        print("interrupted", flush=True)
        os._exit(error.exit_code)
"""


def _endless(database: Database, opened: str, around: str = "listening") -> subprocess.Popen[str]:
    """A program that runs a statement of hours."""
    program = ENDLESS.format(opened=opened, around=around)
    command = [sys.executable, "-c", program, str(database.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)  # the statement has begun; nothing depends on it
    return process


def test_a_signal_in_the_middle_of_a_statement_is_an_interruption(database: Database) -> None:
    with _endless(database, "open") as process:
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=30)
    assert output.endswith("interrupted\n")
    assert process.returncode == 128 + signal.SIGTERM
    assert marks(database) == {}


@pytest.mark.parametrize(("opened", "around"), [("transaction", "listening"), ("open", "cooperating")])
def test_a_transaction_is_ended_only_by_the_second_signal(
    opened: str, around: str, database: Database
) -> None:
    with _endless(database, opened, around) as process:
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.7)
        output = signalled_until_it_ends(process, signal.SIGINT)
    assert output.endswith("ended at once by Ctrl-C\n")
    assert process.returncode == 128 + signal.SIGINT


def test_a_signal_within_a_transaction_waits_until_it_is_committed(database: Database) -> None:
    def store() -> None:
        with database.transaction() as connection:
            connection.execute("INSERT INTO marks VALUES ('first', 1)")
            signal.raise_signal(signal.SIGINT)
            connection.execute("INSERT INTO marks VALUES ('second', 2)")

    with interruption.listening(), pytest.raises(InterruptedRunError):
        store()
    assert marks(database) == {"first": 1, "second": 2}


def test_a_transaction_may_begin_after_a_signal(database: Database) -> None:
    with interruption.listening():
        interruption.request()
        database.execute("INSERT INTO marks VALUES ('how it ended', 1)")
    assert marks(database) == {"how it ended": 1}
