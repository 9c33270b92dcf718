"""Printing never ends a run: other code pages, closed pipes, full disks, no output at all."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from flows.terminal import streams
streams.prepare()
{body}
sys.stdout.flush()
sys.stderr.write("continued\\n")
"""
SAID = "SFT on Ỹ: 48 → 12, mean 0.5 ± 0.1 – “fine” ████ 語 Zoë \\udce9"


def _run(body: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", PROGRAM.format(body=body)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, **options)  # type: ignore[call-overload]


def _printed(encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    result = _run(f'print("{SAID}")')
    assert result.stderr.decode() == "continued\n"
    return result.stdout.decode(encoding.partition(":")[0]).rstrip()


@pytest.mark.parametrize("columns", ["0", "", "00"])
def test_zero_columns_lose_no_line(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for arguments, said in ((["--help"], b"retry-revisions"), (["plan", "-c", "nope.toml"], b"nope.toml")):
        program = "import sys; from flows.cli import main; sys.argv[0] = 'figa'; main()"
        command = [sys.executable, "-c", program, *arguments]
        result = subprocess.run(command, capture_output=True, check=False, timeout=60)
        assert said in result.stdout + result.stderr


def test_utf_8_shows_everything_except_half_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _printed("utf-8", monkeypatch) == "SFT on Ỹ: 48 → 12, mean 0.5 ± 0.1 – “fine” ████ 語 Zoë ?"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", 'SFT on Y~: 48 -> 12, mean 0.5 +/- 0.1 - "fine" #### ? Zoe ?'),
        ("latin-1", 'SFT on Y~: 48 -> 12, mean 0.5 ± 0.1 - "fine" #### ? Zoë ?'),
        ("cp1252", "SFT on Y~: 48 -> 12, mean 0.5 ± 0.1 – “fine” #### ? Zoë ?"),
    ],
)
def test_another_code_page_shows_what_it_can(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _printed(encoding, monkeypatch) == shown


def test_draft_and_revision_can_be_told_apart_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    assert _run('print("Ŷ Ỹ Y")').stdout.decode().split() == ["Y^", "Y~", "Y"]


def test_a_closed_pipe_ends_nothing() -> None:
    body = "import time\nfor _ in range(2000): print('x' * 100)"
    writer = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.read(10)
    writer.stdout.close()
    assert writer.stderr.read() == b"continued\n"
    assert writer.wait(timeout=60) == 0
    writer.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_behind_the_output_ends_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(body="print('x' * 100_000, flush=True)")],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert (result.returncode, result.stderr) == (0, b"continued\n")


def test_without_any_output_no_file_becomes_standard_output(tmp_path: Path) -> None:
    """As after a shell's `>&-`: the next opened file would be standard output."""
    body = f"file = open({str(tmp_path / 'data')!r}, 'w'); print('a line'); file.write('data'); file.close()"
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(body=body), encoding="utf-8")
    result = subprocess.run(
        ["sh", "-c", 'exec "$0" "$1" >&- <&-', sys.executable, str(program)],
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert result.stderr == b"continued\n"
    assert (tmp_path / "data").read_text() == "data"


def test_preparing_twice_changes_nothing() -> None:
    result = _run("first = sys.stdout; streams.prepare(); assert sys.stdout is first; print('Ỹ')")
    assert result.returncode == 0, result.stderr
