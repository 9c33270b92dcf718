"""What tests of several folders share: one small sandbox and one Prefect server for the whole session."""

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

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")

SMALL = SandboxRecipe(
    seed=4, n_prompts=160, base_steps=30, reward_steps=6, pairs_judged=12, prompts_sampled=6
)


_before = pytest.StashKey[dict[str, str | None]]()


def pytest_configure(config: pytest.Config) -> None:
    """What children of tests inherit.

    A shell starts background jobs with SIGINT ignored, as do some CI systems: what a test starts and
    interrupts would not hear it. Temporary files of whatever is started and killed go into one directory,
    which is removed at the end; that of pytest's own stays where it was.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not hasattr(config, "workerinput"):  # xdist's workers inherit theirs
        names = ("TMPDIR", "PYTEST_DEBUG_TEMPROOT")
        config.stash[_before] = {name: os.environ.get(name) for name in names}
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
        os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="figa-tests-")
        tempfile.tempdir = None  # it was remembered


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
    """Real models, hardly trained: enough for everything that is not about their quality."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent  # the workers' common folder: one of them builds, the others wait
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
    """The server's address, set for Prefect's clients in this process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: prefect_server.api_url}):
        yield prefect_server.api_url
