"""What a run and the servers that it has on another machine tell each other, in a folder that both see.

    order.json   what is to be served, where to listen, the fingerprint of the base; written before the start
    key          the servers' key; only this user may read it
    owner        the run's signs of life
    end          the run needs the servers no more
    begun        the host and process that start the servers
    alive        its signs of life
    urls.json    the servers' addresses, once all answer
    failed       why the servers are not there, or not any more
    gone         the servers have ended

The key is in no other file, in no parameter of a flow run and in no command line. As in `shard_folder`, every
file is written under another name and renamed, and signs of life are files whose content changes.
"""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from figa_core.file_hashes import read_sealed, write_sealed
from figa_core.files import PARTIAL, write_whole
from figa_core.inference.server.order import Listening, Order

_PREFIX = "served-"
_ORDER: TypeAdapter[Any] = TypeAdapter(Order)
_LISTENING: TypeAdapter[Any] = TypeAdapter(Listening)


@dataclass(frozen=True, slots=True)
class Ordered:
    """All that the machine with the servers needs to know; `fingerprint`: of the base's files."""

    order: Order
    listening: Listening
    fingerprint: str


@dataclass(frozen=True, slots=True)
class ServingFolder:
    """The folder, for both sides."""

    path: Path

    @property
    def owner(self) -> Path:
        return self.path / "owner"

    @property
    def alive(self) -> Path:
        return self.path / "alive"

    def write_order(self, ordered: Ordered) -> None:
        """Raises OSError."""
        _write_secret(self.path / "key", ordered.order.key)
        fields = {
            "order": _ORDER.dump_python(ordered.order, mode="json", exclude={"key"}),
            "listening": _LISTENING.dump_python(ordered.listening, mode="json"),
            "fingerprint": ordered.fingerprint,
        }
        write_sealed(self.path / "order.json", fields)

    def read_order(self) -> Ordered:
        """Raises OSError if there is none, ValueError or KeyError if it is damaged or of another version."""
        fields = read_sealed(self.path / "order.json")
        key = (self.path / "key").read_text(encoding="utf-8")
        order = _ORDER.validate_python({**fields["order"], "key": key})
        return Ordered(order, _LISTENING.validate_python(fields["listening"]), fields["fingerprint"])

    def end(self) -> None:
        """The run needs nothing more."""
        with suppress(OSError):
            (self.path / "end").touch()

    def has_ended(self) -> bool:
        """Whether the run needs nothing more; a later run removes the folders of those before."""
        return not self.path.is_dir() or (self.path / "end").exists()

    def begin(self) -> None:
        """Raises OSError if the folder cannot be written."""
        write_whole(self.path / "begun", f"process {os.getpid()} on {socket.gethostname()}".encode())

    def where(self) -> str | None:
        """The process and host that start the servers; None before it has begun."""
        return _text(self.path / "begun")

    def announce(self, urls: tuple[str, ...]) -> None:
        """All servers answer at these addresses."""
        write_sealed(self.path / "urls.json", {"urls": list(urls)})

    def urls(self) -> tuple[str, ...] | None:
        """None before all answer."""
        try:
            return tuple(read_sealed(self.path / "urls.json")["urls"])
        except (OSError, ValueError, KeyError):
            return None

    def fail(self, reason: str) -> None:
        with suppress(OSError):
            write_whole(self.path / "failed", reason.encode())

    def failure(self) -> str | None:
        return _text(self.path / "failed")

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """At the end of the context the servers are gone."""
        try:
            yield
        finally:
            with suppress(OSError):
                (self.path / "gone").touch()

    def is_left(self) -> bool:
        return (self.path / "gone").exists()

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def new_serving_folder(scratch: Path, name: str) -> ServingFolder:
    """A folder for new servers. Those of earlier runs, which were killed, are removed: their servers end."""
    for old in scratch.glob(f"{_PREFIX}*"):
        shutil.rmtree(old, ignore_errors=True)
    folder = ServingFolder(scratch / f"{_PREFIX}{name}")
    folder.path.mkdir(parents=True)
    return folder


def _write_secret(path: Path, secret: str) -> None:
    """From its first byte, only this user may read it."""
    partial = path.with_name(path.name + PARTIAL)
    with os.fdopen(
        os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(secret)
    partial.replace(path)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return None
