"""Shared by tests of several folders: one small sandbox and one Prefect server per session."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from figa_core.sandbox.build import Sandbox, build_sandbox
from figa_core.sandbox.recipe import SandboxRecipe
from flows.server.process import PrefectServer

settings.register_profile("any machine", deadline=None)  # a busy machine is not a failure
settings.load_profile("any machine")

SMALL = SandboxRecipe(
    seed=4, n_prompts=160, base_steps=30, reward_steps=6, pairs_judged=12, prompts_sampled=6
)


_WHOLE_RUNS = Path(__file__).parent / "flows"

_before = pytest.StashKey[dict[str, str | None]]()


def pytest_configure(config: pytest.Config) -> None:
    """Set what this process and the children of tests use.

    Shells start background jobs with SIGINT ignored, as do some CI systems: a child that a test interrupts
    would not notice. Temporary files, also of killed children, go into one directory, which is removed at the
    end; pytest's own directory stays where it was. A test without a Prefect API must fail instead of starting
    Prefect's temporary server, which is stopped at exit: then Prefect's console handler would log to the
    captured standard error, which pytest has already closed ("I/O operation on closed file").
    """
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # xdist's workers inherit theirs
        names = ("TMPDIR", "PYTEST_DEBUG_TEMPROOT")
        config.stash[_before] = {name: os.environ.get(name) for name in names}
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="figa-tests-")
        tempfile.tempdir = None  # forget the cached one


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first: a long file begun last would leave one of the two workers of `make test` idle."""
    items.sort(key=lambda item: item.path.parent != _WHOLE_RUNS)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the directory for temporary files."""
    if (before := config.stash.get(_before, None)) is None:
        return
    shutil.rmtree(os.environ["TMPDIR"], ignore_errors=True)
    for name, value in before.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    tempfile.tempdir = None


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Sandbox:
    """Real models, hardly trained: enough for everything except their quality."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent  # the workers' common folder: one of them builds, and the others wait
    root = Path(os.environ.get("FIGA_TEST_SANDBOX") or root / "sandbox")  # mutants.py runs many sessions
    root.mkdir(exist_ok=True)
    with FileLock(root / "build.lock"):
        return build_sandbox(root, SMALL)


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with PrefectServer(tmp_path_factory.mktemp("prefect")) as server:
        server.wait()
        yield server


@pytest.fixture
def prefect_api(prefect_server: PrefectServer) -> Iterator[str]:
    """The server's address, set for the Prefect clients of this process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield prefect_server.api_url
