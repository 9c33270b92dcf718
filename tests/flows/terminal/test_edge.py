"""Every end of a command has a message and an exit code."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys, time
from pathlib import Path
import typer
from figa_core.errors import InputError
from flows.terminal import edge

app = typer.Typer(cls=edge.Commands)

@app.command()
def one() -> None:
    edge.runs_in(Path({workspace!r}))
    {body}

@app.command()
def lines() -> None:
    for number in range(3):
        print(f"line {{number}}", flush=True)

edge.main(app)
"""


def _command(body: str, workspace: Path) -> list[str]:
    return [sys.executable, "-c", PROGRAM.format(body=body, workspace=str(workspace)), "one"]


def _run(body: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(body, workspace), capture_output=True, text=True, check=False, timeout=60)


def test_an_unexpected_error_is_one_line_and_a_file(tmp_path: Path) -> None:
    result = _run("{}['a key']", tmp_path)
    assert result.returncode == 2
    error, where = result.stderr.splitlines()
    found = re.fullmatch(
        r"error: unexpected, a bug in figa: KeyError: 'a key'; its traceback is in (\S+)\. Please .*\.",
        error,
    )
    assert found is not None, error
    trace = Path(found[1])
    assert trace.parent == tmp_path / "logs"
    assert trace.read_text(encoding="utf-8").startswith("Traceback (most recent call last)")
    assert where == f"Status: figa status --workspace {tmp_path}"


@pytest.mark.parametrize("body", ["raise OSError(32, 'Broken pipe')", "raise asyncio.CancelledError"])
def test_errors_that_typer_would_hide_are_reported(body: str, tmp_path: Path) -> None:
    result = _run(body, tmp_path)
    assert result.returncode == 2
    assert "error: unexpected" in result.stderr


def test_if_the_workspace_cannot_be_written_the_traceback_is_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").write_text("in the way")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "elsewhere"))
    _run("1 / 0", tmp_path)
    [trace] = (tmp_path / "elsewhere").glob("figa-crash-*.txt")
    assert "ZeroDivisionError" in trace.read_text(encoding="utf-8")


def test_an_error_in_a_thread_does_not_end_the_command(tmp_path: Path) -> None:
    body = "import threading; thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()"
    result = _run(f"{body}; print('continued')", tmp_path)
    assert (result.returncode, result.stdout) == (0, "continued\n")
    [line] = result.stderr.splitlines()
    assert "ZeroDivisionError" in line
    assert len(list((tmp_path / "logs").glob("figa-crash-*.txt"))) == 1


def test_a_signal_where_nothing_can_be_raised_prints_no_error(tmp_path: Path) -> None:
    body = """
    from figa_core.processes import interruption
    class Finalized:
        def __del__(self): interruption.on_signal(2)
    Finalized()
    time.sleep(0.6)
    print('noticed' if interruption.requested() else 'lost')
    """
    result = _run(body, tmp_path)
    assert (result.returncode, result.stdout) == (0, "noticed\n")
    [line] = result.stderr.splitlines()
    assert line.startswith("stopping: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_output_that_is_lost_on_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    lost = "standard output: No space left on device; some output was lost\n"
    asked_for_lines = [*_command("pass", tmp_path)[:-1], "lines"]
    assert _onto_full_disk(asked_for_lines) == (1, lost)
    assert _onto_full_disk([*asked_for_lines[:-1], "--help"]) == (1, lost)
    assert _onto_full_disk(_command("print('done')", tmp_path)) == (0, lost), "a run's results are stored"


def _onto_full_disk(command: list[str]) -> tuple[int, str]:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60
        )
    return result.returncode, result.stderr


def test_a_reader_that_closes_the_pipe_is_not_a_failure(tmp_path: Path) -> None:
    command = [*_command("pass", tmp_path)[:-1], "lines"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_expected_error_is_its_message(tmp_path: Path) -> None:
    result = _run("raise InputError('no such file')", tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "error: no such file",
        f"Status: figa status --workspace {tmp_path}",
    ]
    assert not (tmp_path / "logs").exists()


def test_without_a_workspace_no_status_command_is_shown(tmp_path: Path) -> None:
    result = _run("raise InputError('no such file')", tmp_path / "none")
    assert result.stderr == "error: no such file\n"


def test_the_path_can_be_copied_into_a_shell(tmp_path: Path) -> None:
    odd = tmp_path / "Jürgen's 100% (new)"
    odd.mkdir()
    line = _run("raise InputError('x')", odd).stderr.splitlines()[-1]
    words = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {line.partition(': ')[2]}"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert words == ["figa", "status", "--workspace", str(odd)]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_stopped_command_says_how_to_continue(number: int, code: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        _command("print('ready', flush=True); time.sleep(60)", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        said = process.stderr.read().splitlines()
    assert process.returncode == code
    assert said[0].startswith("stopping: ")
    assert said[1:] == [
        "stopped. What is done is stored: the same command continues from here.",
        f"Status: figa status --workspace {tmp_path}",
    ]


def test_a_removed_current_directory_is_reported(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = ["sh", "-c", 'cd "$1" && rmdir "$1" && shift && exec "$@"', "sh", str(gone)]
    command = [*script, *_command("pass", tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 1
    assert result.stderr.startswith("error: the current directory cannot be used (No such file or directory)")
