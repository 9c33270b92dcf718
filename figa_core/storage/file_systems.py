"""On what kind of file system a directory lies, and whether locks on it hold between machines.

DuckDB, the lease and the trainings rely on locks of the file system. Network file systems often have none
that reach the other machines (NFS without its lock service, object stores behind FUSE), or lose them when a
server restarts; SMB and NFS may also show another machine an old state of a file. What a virtual machine
shares with its host (9p, virtiofs, vboxsf) keeps locks to itself, and so does BeeGFS unless it is set up
otherwise.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil

_OF_THE_HOST = ("9p", "virtiofs")
"""As the root they are the own disk of a sandbox or a small virtual machine."""
_NETWORK = frozenset(
    [
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smb",
        "smb2",
        "smb3",
        "smbfs",
        "afs",
        "afpfs",
        "webdav",
        "davfs",
        "ncpfs",
        "sshfs",
        "s3fs",
        "s3ql",
        "gcsfuse",
        "goofys",
        "rclone",
        "blobfuse",
        "blobfuse2",
        "mount-s3",
        "mountpoint-s3",
        "glusterfs",
        "juicefs",
        "geesefs",
        "curlftpfs",
        "objectivefs",
        "beegfs",
        "fhgfs",
        "vboxsf",
        "prl_fs",
        "vmhgfs",
        "vmhgfs-fuse",
        *_OF_THE_HOST,
    ]
)
"""Kinds, with "fuse." before them or without."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, and its kind, such as "ext4" or "fuse.sshfs"."""

    point: Path
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether locks on it may not hold between machines."""
        kind = self.kind.lower().removeprefix("fuse.")
        return kind in _NETWORK and not (kind in _OF_THE_HOST and len(self.point.parts) == 1)


def mount_of(path: Path, mounts: Iterable[Mount] | None = None) -> Mount | None:
    """The mount that holds the path, which need not exist; None if the system does not tell.

    `mounts`: in the order in which they were mounted; by default those of this machine.
    """
    real = Path(os.path.realpath(path))
    known = mounts_here() if mounts is None else mounts
    above = [each for each in known if real.is_relative_to(each.point)]
    # Of two at one point, the later one covers the earlier.
    return max(enumerate(above), key=lambda found: (len(found[1].point.parts), found[0]), default=(0, None))[
        1
    ]


def mounts_here() -> list[Mount]:
    """The mounts of this machine; none if they cannot be read."""
    try:
        return [Mount(Path(each.mountpoint), each.fstype) for each in psutil.disk_partitions(all=True)]
    except OSError:
        return []
