"""The file system of a path is found among the mounts, and those without reliable locks are known."""

from pathlib import Path

import pytest

from figa_core.storage.file_systems import Mount, mount_of

MOUNTS = [
    Mount(Path("/"), "ext4"),
    Mount(Path("/data"), "nfs4"),
    Mount(Path("/data/local"), "xfs"),
    Mount(Path("/mnt"), "ext4"),
    Mount(Path("/mnt"), "fuse.sshfs"),
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "ext4"),
        ("/database", "ext4"),
        ("/data", "nfs4"),
        ("/data/a/b", "nfs4"),
        ("/data/localhost", "nfs4"),
        ("/data/local/a", "xfs"),
        ("/mnt/x", "fuse.sshfs"),
        ("/data/local/../a", "nfs4"),
    ],
)
def test_the_deepest_mount_above_a_path_holds_it_and_the_later_of_two(path: str, kind: str) -> None:
    found = mount_of(Path(path), MOUNTS)
    assert found is not None
    assert found.kind == kind


def test_a_link_lies_where_it_leads(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/data/a")
    assert mount_of(link / "below", MOUNTS) == MOUNTS[1]


def test_this_machine_tells_the_kind_of_the_temporary_directory(tmp_path: Path) -> None:
    found = mount_of(tmp_path)
    assert found is not None
    assert tmp_path.is_relative_to(found.point)
    assert mount_of(tmp_path, []) is None


@pytest.mark.parametrize(
    "kind",
    [
        "nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "FUSE.rclone", "gcsfuse", "beegfs", "fhgfs", "vboxsf",
        "fuse.vmhgfs-fuse", "9p", "virtiofs",
    ],
)  # fmt: skip
def test_locks_of_network_file_systems_are_not_relied_on(kind: str) -> None:
    assert Mount(Path("/data"), kind).is_network


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "apfs", "overlay", "tmpfs", "fuseblk"])
def test_locks_of_local_file_systems_are(kind: str) -> None:
    assert not Mount(Path("/data"), kind).is_network


@pytest.mark.parametrize("kind", ["9p", "virtiofs"])
def test_the_root_of_a_sandbox_is_its_own_disk(kind: str) -> None:
    assert not Mount(Path("/"), kind).is_network
