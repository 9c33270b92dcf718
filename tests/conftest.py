"""What tests of several folders share: one small sandbox for the whole session."""

from pathlib import Path

import pytest
from filelock import FileLock

from figa_core.sandbox.build import Sandbox, build_recipe
from figa_core.sandbox.recipe import SandboxRecipe

SMALL = SandboxRecipe(
    seed=4, n_prompts=160, base_steps=30, reward_steps=6, pairs_judged=12, prompts_sampled=6
)


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
