"""What a run on a pool needs of the machine that executes it before it works for another run."""

import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

from figa_core.errors import WorkspaceError
from figa_core.models.fingerprint import model_fingerprint
from flows.run.parameters import absolute
from flows.server.elsewhere import started_by_worker
from flows.server.own_worker import check_own_worker
from tasks.workspace import Workspace


def workspace_here(directory: Path, remedy: str, *, is_shared: bool = True) -> Workspace:
    """The other run's workspace on this machine. `remedy` is what to do if a shared one is not here.

    Raises:
        ConfigError: the path is not valid, or this worker cannot run it: see `check_own_worker`.
        WorkspaceError: it is shared and not here, or cannot be written.
    """
    if started_by_worker():
        check_own_worker()
    workspace = Workspace(absolute("workspace", directory))
    if is_shared and not workspace.directory.is_dir():
        raise WorkspaceError(
            f"{workspace.directory}: there is no such directory on {socket.gethostname()}. {remedy}"
        )
    workspace.check_writable()
    return workspace


def fingerprints_here(workspace: Workspace) -> Callable[[Path], str]:
    """The hash of a model's files on this machine: another machine's hashes say nothing about them."""
    return partial(model_fingerprint, cache=workspace.fingerprints_on(socket.gethostname()))
