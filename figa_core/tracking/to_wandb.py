"""Weights & Biases: the server that WANDB_BASE_URL names with the key in WANDB_API_KEY, otherwise files.

    wandb sync WORKSPACE/tracking/wandb/wandb/offline-run-*

W&B sends from a process of its own and tells nobody what has arrived, so `flush` waits for nothing: if the
machine goes down, the last seconds may be missing there.
"""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from figa_core.errors import one_line
from figa_core.tracking.tracker import OFFLINE, ONLINE, Entry, Note, TrackedRun

_INIT_S, _FINISH_S = 20.0, 20.0
# Without it a server that does not answer is asked for an hour.
_REQUEST_S, _RETRIES = 5.0, 1


class Wandb:
    """A run of the project; the workspace is its group."""

    def __init__(self, local: Path, note: Note) -> None:
        self._local, self._note = local / "wandb", note

    def start(self, run: TrackedRun, entry: Entry | None) -> Entry:
        import wandb  # pyright: ignore[reportMissingImports]

        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        self._local.mkdir(parents=True, exist_ok=True)
        place = self._place()
        # A deleted run's id cannot be used again, so it is not the training's.
        name = entry.run if entry is not None else uuid.uuid4().hex[:12]
        self._run: Any = wandb.init(
            project=run.project,
            id=name,
            name=run.name,
            group=run.group,
            config=dict(run.settings),
            dir=self._local,
            mode="online" if place == ONLINE else "offline",
            resume="allow" if place == ONLINE else None,
            settings=wandb.Settings(
                console="off",
                disable_git=True,
                save_code=False,
                init_timeout=_INIT_S,
                finish_timeout=_FINISH_S,
                x_disable_meta=True,
                x_disable_stats=True,
            ),
        )
        return Entry(name, place)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        self._run.log(dict(figures), step=step)

    def flush(self) -> None:
        pass

    def summarise(
        self,
        step: int,  # noqa: ARG002 - its summary belongs to no step
        figures: Mapping[str, float],
        settings: Mapping[str, str],
    ) -> None:
        self._run.summary.update(dict(figures))
        self._run.config.update(dict(settings), allow_val_change=True)

    def artifact(self, path: Path) -> None:
        self._run.log_artifact(str(path), name=path.stem, type="report")

    def finish(self, *, succeeded: bool) -> None:
        self._run.finish(exit_code=0 if succeeded else 1)

    def _place(self) -> str:
        """Whether the server can be used with the key; says why not."""
        import wandb  # pyright: ignore[reportMissingImports]

        if os.environ.get("WANDB_MODE", "online") != "online":
            return OFFLINE
        wandb.setup(
            wandb.Settings(x_graphql_timeout_seconds=_REQUEST_S, x_graphql_retry_max=_RETRIES, silent=True)
        )
        try:
            if wandb.login(prompt=False, verify=True):
                return ONLINE
            why = "has no key: set WANDB_API_KEY"
        except (
            Exception
        ) as error:  # W&B raises the same for a key that is refused and a server that is not there
            why = f"cannot be used ({one_line(error)})"
        self._note(
            f"W&B {why}; its figures are written to {self._local}, and this sends them: "
            f"wandb sync {self._local}/wandb/offline-run-*"
        )
        return OFFLINE
