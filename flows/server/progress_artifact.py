"""A stage's progress in the Prefect UI: an artifact that a separate thread keeps up to date.

The stage only notes its progress, so that no row waits for a request to the server.
"""

import contextvars
import logging
import re
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from figa_core.ports import ProgressCallback

EVERY_S = 3.0

# Without `_sync` they would return coroutines: the thread has the context of an async flow.
_create = partial(create_progress_artifact, _sync=True)  # pyright: ignore[reportCallIssue]
_update = partial(update_progress_artifact, _sync=True)  # pyright: ignore[reportCallIssue]

_logger = logging.getLogger(__name__)


@contextmanager
def progress_artifact(title: str, every_s: float = EVERY_S) -> Iterator[ProgressCallback]:
    """Show a stage's progress every `every_s` seconds. A stage that ends sooner makes no artifact.

    An update that the server refuses is missing in the UI but does not end the run.
    """
    artifact = _StageArtifact(title, every_s)
    # In the run's context, so that the artifact belongs to the run.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(artifact.follow,), daemon=True)
    thread.start()
    try:
        yield artifact.note
    finally:
        artifact.stopped.set()
        thread.join()


class _StageArtifact:
    def __init__(self, title: str, every_s: float) -> None:
        self._title, self._every_s = title, every_s
        self._noted: tuple[int, int] | None = None
        self._shown: tuple[int, int] | None = None
        self._id: UUID | None = None
        self.stopped = threading.Event()

    def note(self, done: int, total: int) -> None:
        self._noted = (done, total)

    def follow(self) -> None:
        if self.stopped.wait(self._every_s):
            return
        self._show()
        while not self.stopped.wait(self._every_s):
            self._show()
        self._show()

    def _show(self) -> None:
        noted = self._noted
        if noted is None or noted == self._shown:
            return
        done, total = noted
        percent = 100.0 * done / total if total else 0.0
        text = f"{self._title}: {done:,} of {total:,}"
        try:
            if self._id is None:
                self._id = cast(UUID, _create(percent, key=_key(self._title), description=text))
            else:
                _update(self._id, percent, description=text)
        except Exception as error:  # whatever the server answers, the run continues
            _logger.debug("progress of %s not shown: %s", self._title, error)
        else:
            self._shown = noted


def _key(title: str) -> str:
    """Such as "figa-progress-train-sft-on-y": keys hold lower-case letters, digits and dashes only."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return "figa-progress-" + re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
