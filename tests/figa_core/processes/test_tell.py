"""The messages of a child and its libraries in the log of the run that started it."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from figa_core.files import last_lines
from figa_core.processes.children import child_environment
from figa_core.processes.log import followed
from figa_core.processes.tell import tell

LOGGER = logging.getLogger("figa_core.test")
BEGIN = (
    "import logging, threading, warnings\n"
    "from figa_core.processes.tell import tell, tell_troubles\ntell_troubles()\n"
)
# vLLM, transformers and DeepSpeed set up their loggers like this, with their own handlers and formats.
LIBRARY = (
    "log = logging.getLogger('library')\nlog.propagate = False\nlog.addHandler(logging.StreamHandler())\n"
    "log.setLevel('INFO')\n"
)

Logged = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Logged:
    """Run a program; (level, message) of each record in the run's log."""
    caplog.set_level(logging.INFO, logger="figa_core")

    def run(program: str, **environment: str) -> list[tuple[str, str]]:
        path = tmp_path / "child.log"
        path.touch()
        with path.open("ab") as log, followed(path, LOGGER):
            subprocess.run(
                [sys.executable, "-c", BEGIN + program],
                stdout=log,
                stderr=log,
                env=child_environment(**environment),
                check=False,
            )
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return run


def test_our_messages_are_logged(logged: Logged) -> None:
    assert logged("print('figa is here')\ntell('24 pairs')") == [("INFO", "24 pairs")]


def test_warnings_and_errors_of_libraries_are_logged_and_info_is_not(
    logged: Logged,
) -> None:
    program = LIBRARY + "log.info('noise')\nlog.warning('%s is slow', 'it')\nlog.error('it is over')\n"
    assert logged(program) == [("WARNING", "it is slow"), ("ERROR", "it is over")]


def test_a_python_warning_is_logged_and_a_deprecation_is_not(logged: Logged) -> None:
    program = (
        "warnings.warn('it is slow')\nwarnings.warn('use reduce', FutureWarning)\n"
        + LIBRARY
        + "log.warning('`torch_dtype` is deprecated! Use `dtype` instead!')\n"
    )
    assert logged(program) == [("WARNING", "UserWarning: it is slow")]


@pytest.mark.parametrize(
    "text",
    [
        "The global random seed is set to 0. Since VLLM_ENABLE_V1_MULTIPROCESSING is set to False, this may",
        "This model does not officially support disabling chunked prefill. Disabling this manually may cause",
        "Enforce eager set, disabling torch.compile, CUDAGraphs, and JIT kernel warmup.",
        "Inductor compilation was disabled by user settings, optimizations settings that are only active",
        "Triton is not installed. triton-cpu is expected.",
        "Triton not available, find_triton_kernels = []",
        "Model Runner V2 requires Triton; using the V1 model runner instead.",
        "Reset SSM cache type to float32 for accelerated GDN mamba backend 'none'.",
        "libtcmalloc is not found in LD_PRELOAD.",
        "libiomp is not found in LD_PRELOAD.",
        "CPU backend doesn't allow to use `torch.set_num_threads` after the thread binding, skip it.",
        "Setting accelerator to CPU. If you have GPU or other accelerator, we were unable to detect it.",
        "Sending process 11556 closing signal SIGTERM",
    ],
)
def test_warnings_of_every_healthy_run_are_left_out(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    tell(text, logging.WARNING)
    assert capfd.readouterr().out == ""
    tell(text, logging.ERROR)
    assert text in capfd.readouterr().out


def test_an_exception_that_ends_the_process_is_one_message(logged: Logged) -> None:
    ((level, text),) = logged("def load(): raise ValueError('no dtype\\n  in config.json')\nload()")
    lines = text.splitlines()
    assert level == "ERROR"
    assert lines[:3] == ["ValueError: no dtype", "  in config.json", "Traceback (most recent call last):"]
    assert "load" in lines[-1]


def test_the_log_ends_with_the_exception_itself(logged: Logged, tmp_path: Path) -> None:
    logged("raise ValueError('no dtype')")
    assert last_lines(tmp_path / "child.log", 1) == "ValueError: no dtype"


def test_the_last_of_chained_exceptions_comes_first(logged: Logged) -> None:
    program = "try: {}['dtype']\nexcept KeyError as error: raise ValueError('no dtype') from error"
    ((_, text),) = logged(program)
    assert text.startswith("ValueError: no dtype\nTraceback")
    assert "KeyError: 'dtype'" in text


def test_exceptions_that_end_a_thread_or_are_logged_are_messages(logged: Logged) -> None:
    program = LIBRARY + (
        "thread = threading.Thread(target=lambda: 1 / 0)\nthread.start()\nthread.join()\n"
        "try: {}['x']\nexcept KeyError: log.exception('lost')\n"
    )
    (_, thread), (_, record) = logged(program)
    assert thread.startswith("ZeroDivisionError: division by zero\nTraceback")
    assert record.startswith("lost\nKeyError: 'x'\nTraceback")


def test_a_record_with_wrong_arguments_does_no_harm(logged: Logged) -> None:
    assert logged(LIBRARY + "log.warning('%d', 'x')\ntell('more')") == [("INFO", "more")]


def test_warnings_and_errors_name_their_rank(logged: Logged) -> None:
    assert logged("tell('loaded')\ntell('no', logging.ERROR)", RANK="1") == [
        ("INFO", "loaded"),
        ("ERROR", "rank1: no"),
    ]


def test_a_message_after_an_unfinished_line_is_whole(logged: Logged) -> None:
    program = "print('Loading: 100%', end='', flush=True)\ntell('one\\n\\ntwo \\udce9')\nprint('more')"
    assert logged(program) == [("INFO", "one\n\ntwo \\udce9")]


def test_messages_of_two_children_do_not_mix(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="figa_core")
    path = tmp_path / "child.log"
    program = BEGIN + "for n in range(8): tell('\\n'.join([f'{chr(65 + n)} of {NAME}'] + [NAME] * 400))"
    with path.open("ab") as log, followed(path, LOGGER):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", f"NAME = {name!r}\n{program}"], stdout=log, env=child_environment()
            )
            for name in ("one", "two")
        ]
        for child in children:
            assert child.wait() == 0
    bodies = [set(message.splitlines()[1:]) for message in caplog.messages if " of " in message]
    assert bodies
    assert all(len(body) == 1 for body in bodies)


@pytest.mark.parametrize(
    "line",
    [
        "Fatal Python error: Aborted",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "host:7:9 [0] NCCL WARN it is slow",
        "[F1121 16:54:10.489303212 a.cpp:68] it is over",
        "[rank0]:[E1121 16:54:10.489303212 ProcessGroupNCCL.cpp:68] Watchdog caught collective timeout",
    ],
)
def test_crashes_of_native_code_are_logged(line: str, logged: Logged) -> None:
    assert logged(f"print({line!r})") == [("ERROR", line)]
