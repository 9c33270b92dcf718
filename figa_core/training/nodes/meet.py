"""Brings the ranks of several machines together before anything else; see `bonds.py`."""

import contextlib
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from figa_core.errors import TrainingError
from figa_core.training.failures import OtherRankError, record_failure, write_failure
from figa_core.training.nodes.addresses import address_towards, interface_of
from figa_core.training.nodes.bonds import ROLL_CALL_S, Bond, Hub, Member
from figa_core.training.nodes.endings import Ending
from figa_core.training.nodes.roll_call import device_kind, node_name, presence_of

_KEY = "figa/bond"


@dataclass(frozen=True, slots=True)
class Place:
    """A rank's place among the others, from the variables that its launcher sets."""

    rank: int
    ranks: int
    node: int
    host: str

    @property
    def where(self) -> str:
        return node_name(self.node, self.host)


def place_in(environment: Mapping[str, str], host: str) -> Place | None:
    """None if all ranks are on this machine.

    torchrun sets all of the variables; another launcher must set LOCAL_WORLD_SIZE besides RANK and
    WORLD_SIZE, or its ranks count as those of one machine.
    """
    rank, ranks = int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1"))
    here = int(environment.get("LOCAL_WORLD_SIZE", ranks))
    if here >= ranks:
        return None
    return Place(rank, ranks, int(environment.get("GROUP_RANK", rank // here)), host)


class Company:
    """What a rank does with the others: nothing if they are all on this machine."""

    def __init__(self, job_path: Path, place: Place | None) -> None:
        self._job_path, self._place = job_path, place
        self._bond: Bond | None = None
        self._store: Any = None  # it ends with the last reference

    @property
    def where(self) -> str:
        """The name of this node, if there are others."""
        return self._place.where if self._place else ""

    def gather(self) -> None:
        """Return when all ranks are there and agree.

        Raises:
            TrainingError: they do not; the message names the nodes.
        """
        if self._place is None:
            return
        place, job_path = self._place, self._job_path
        _use_interface(os.environ["MASTER_ADDR"])
        self._store = _shared_store()
        on_end = partial(end_with, job_path.parent, place)
        if place.rank == 0:
            token = secrets.token_hex(8)
            hub = Hub(ranks=place.ranks, token=token, on_end=on_end)
            proof = _write_proof(job_path, token)
            self._store.set(_KEY, json.dumps([hub.port, token]))
            self._bond = hub
        else:
            port, token = json.loads(self._store.get(_KEY))
            proof = _proof(job_path, token)
            self._bond = Member.of(os.environ["MASTER_ADDR"], port, token, on_end)
        own = presence_of(
            job_path, proof.name, rank=place.rank, node=place.node, host=place.host, device=device_kind()
        )
        problems = self._bond.call_roll(own)
        if place.rank == 0:
            proof.unlink(missing_ok=True)
        if problems:
            raise TrainingError("the nodes cannot train together: " + "\n".join(problems))

    def fail(self, error: Exception, output: Path, *, secondary: bool) -> None:
        """Record this rank's error in the training's directory, and tell the others."""
        if self._place is not None and not output.is_dir():
            return  # the job file is not there either: rank 0 says so
        rank = int(os.environ.get("RANK", "0"))
        failure = record_failure(output, rank, error, secondary=secondary, where=self.where)
        cause = None if self._bond is None else self._bond.failed(failure)
        if cause is not None and secondary:
            _note(output, cause)

    def part(self) -> None:
        """The training is over for this rank."""
        if self._bond is not None:
            self._bond.leave()


def company_of(job_path: Path) -> Company:
    """That of this process."""
    return Company(job_path, place_in(os.environ, socket.gethostname()))


def end_with(
    output: Path, place: Place, ending: Ending, exit_process: Callable[[int], object] = os._exit
) -> None:
    """End this process because another rank has ended, after noting ours, and that one's if it could not.

    The main thread may wait in a collective that never returns, so no exception could reach it.
    """
    cause = ending.as_failure()
    _note(output, ending)
    with contextlib.suppress(OSError):
        ours = OtherRankError(f"{cause.origin} ended: {cause.message}")
        record_failure(output, place.rank, ours, secondary=True, where=place.where)
    exit_process(1)


def _note(output: Path, ending: Ending) -> None:
    """Write the failure of a rank that could not."""
    failure = ending.as_failure()
    if failure.silent:
        with contextlib.suppress(OSError):
            write_failure(output, failure)


def _use_interface(first: str) -> None:
    """Let the ranks talk over the network that leads to node 0, whatever the host's name resolves to."""
    with contextlib.suppress(OSError):
        interface = interface_of(address_towards(first))
        if interface is not None and sys.platform == "linux":
            for backend in ("GLOO", "NCCL"):
                os.environ.setdefault(f"{backend}_SOCKET_IFNAME", interface)


def _shared_store() -> Any:
    """The key-value store that all ranks reach. Raises TrainingError if node 0 does not answer."""
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(rendezvous("env://", timeout=timedelta(seconds=ROLL_CALL_S)))
    except RuntimeError as error:  # a DistError of PyTorch
        address = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise TrainingError(
            f"node 0 does not answer at {address} within {ROLL_CALL_S:.0f} s ({error}). Check the address, "
            "and that the port is not closed by a firewall."
        ) from error
    return store


def _write_proof(job_path: Path, token: str) -> Path:
    path = _proof(job_path, token)
    try:
        path.touch()
    except OSError as error:
        raise TrainingError(f"{path}: cannot write there ({error.strerror}). Choose another disk.") from error
    return path


def _proof(job_path: Path, token: str) -> Path:
    return job_path.with_name(f"seen-by-all-nodes-{token}")
