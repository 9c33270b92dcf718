"""The reward model of `figa demo --real`: that of its domain, trained once by a child process."""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from figa_core.domains.base import Domain
from figa_core.errors import EngineError, WorkspaceError
from figa_core.processes.child import Child
from figa_core.processes.children import child_environment


def reward_model(domain: Domain, root: Path, *, on_progress: Callable[[str], None] = lambda _: None) -> Path:
    """The directory of the domain's reward model under `root`; it is trained unless it is there.

    Takes two minutes on one core. The directory appears when it is complete.

    Raises:
        EngineError: the training failed; the message has the end of its log.
        WorkspaceError: `root` cannot be written.
    """
    final = root.resolve() / f"reward-{domain.name}-{domain.version}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):
            if not final.exists():
                _train(domain, final, on_progress)
    except OSError as error:
        raise WorkspaceError(
            f"{final}: cannot train a reward model here: {error.strerror or error}. Give a "
            "writable directory."
        ) from error
    return final


def _train(domain: Domain, final: Path, on_progress: Callable[[str], None]) -> None:
    on_progress(f"training a reward model for the domain {domain.name!r}")
    for abandoned in final.parent.glob(f"{final.name}.*/"):  # of a killed process
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{final.name}.", dir=final.parent) as scratch:
        command = [sys.executable, "-m", "figa_core.domains.reward_model", domain.name, "--root", scratch]
        environment = child_environment(HF_HUB_OFFLINE="1")
        child = Child(command, Path(scratch) / "log", environment=environment)
        if (code := child.finish()) != 0:
            raise EngineError(
                f"the reward model's training ended with code {code}. Run the same command again; "
                f"if it fails again, see the end of its log:\n{child.log_tail(30)}"
            )
        (Path(scratch) / "reward").rename(final)
