"""What tests of several folders share: one small sandbox and one Prefect server for the whole session."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from figa_core.sandbox.build import Sandbox, build_recipe
from figa_core.sandbox.recipe import SandboxRecipe
from flows.server import PrefectServer

settings.register_profile("any machine", deadline=None)  # a busy one is no failure
settings.load_profile("any machine")

SMALL = SandboxRecipe(
    seed=4, n_prompts=160, base_steps=30, reward_steps=6, pairs_judged=12, prompts_sampled=6
)


def pytest_configure() -> None:
    """A shell starts background jobs with SIGINT ignored, as do some CI systems, and children inherit that:
    what a test starts and interrupts would not hear it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Sandbox:
    """Real models, hardly trained: enough for everything that is not about their quality."""
    root = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        root = root.parent  # the workers' common folder: one of them builds, the others wait
    root = Path(root) / "sandbox"
    root.mkdir(exist_ok=True)
    with FileLock(root / "build.lock"):
        return build_recipe(root, SMALL)


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
