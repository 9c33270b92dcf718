"""The other side of `ordered`: starts the servers of an order here, and ends them in every case.

They end if the run needs them no more, if it gives no sign of life, if one of them ends, and with this
process.
"""

from collections.abc import Callable
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.inference.engine import Tell
from figa_core.inference.ordered_work import check_same_model, read_ordered
from figa_core.inference.server.here import ServersHere
from figa_core.inference.server.serving_folder import Ordered, ServingFolder
from figa_core.inference.shard_folder import LOST_AFTER_S, LifeWatch, signs_of_life
from figa_core.processes import interruption

_LOOK_S = 0.3


class _NotNeededError(Exception):
    """The run needs the servers no more."""


def serve_order(
    folder: ServingFolder,
    logs: Path,
    fingerprint_of: Callable[[Path], str],
    tell: Tell = lambda _: None,
    *,
    lost_after_s: float = LOST_AFTER_S,
) -> None:
    """Serve what is ordered in the folder, until its run needs it no more.

    Args:
        folder: of the order.
        logs: directory for the servers' logs.
        fingerprint_of: the hash of a model directory's files, as they are on this machine.
        tell: gets a line about what takes a while.
        lost_after_s: without a sign of life from the run for so long, the servers end.

    Raises:
        EngineError: the run is gone, the model is another one here, or the servers do not run.
        OSError: the folder cannot be read or written.
    """
    if folder.has_ended():  # its turn came after the run had ended
        return
    try:
        folder.begin()
        with folder.leaving(), signs_of_life(folder.alive):
            _serve(folder, logs, fingerprint_of, tell, LifeWatch(folder.owner, lost_after_s))
    except _NotNeededError:
        return
    except BaseException as error:
        if isinstance(error, OSError) and folder.has_ended():  # it was removed meanwhile
            return
        folder.fail(str(error) or type(error).__name__)
        raise


def _serve(
    folder: ServingFolder,
    logs: Path,
    fingerprint_of: Callable[[Path], str],
    tell: Tell,
    owner: LifeWatch,
) -> None:
    def still_needed() -> None:
        if folder.has_ended():
            raise _NotNeededError
        if owner.is_lost():
            raise EngineError(
                "the run that these servers are for shows no sign of life; it may have been killed. Start it "
                "again: it continues with what is stored."
            )

    ordered = _read(folder)
    check_same_model(ordered.order.base, ordered.fingerprint, fingerprint_of)
    servers = ServersHere(ordered.order, logs, ordered.listening)
    try:
        servers.start(tell, still_needed)
        folder.announce(servers.urls)
        tell(f"serving {ordered.order.base} at {', '.join(servers.urls)} until its run ends")
        while (trouble := servers.trouble()) is None:
            still_needed()
            interruption.check()
            interruption.sleep(_LOOK_S)
        raise EngineError(trouble)
    finally:
        servers.stop()


def _read(folder: ServingFolder) -> Ordered:
    try:
        return read_ordered(folder.path, folder.read_order)
    except PermissionError as error:
        raise EngineError(
            f"{error.filename}: the user of this worker may not read it. Start the worker as the user of the "
            "run: only that one may read the servers' key."
        ) from error
