"""Which side writes which file of a folder of shards, and in which order they appear."""

from pathlib import Path

from figa_core.inference import shard_sides
from figa_core.inference.shard_folder import ShardFolder, new_folder


def _folder(tmp_path: Path) -> ShardFolder:
    folder = new_folder(tmp_path, "1")
    for name in ("dealer", "work.json", "input/a.parquet", "input/b.parquet", "input/c.9.partial"):
        (folder.path / name).touch()
    for number in (0, 1):
        folder.worker(number).begin()
        folder.worker(number).alive.touch()
    folder.worker(0).order("a.parquet")
    folder.worker(1).order("b.parquet")
    folder.worker(0).result("a.parquet").write_bytes(b"rows")
    folder.worker(0).finish("a.parquet", 1)
    return folder


def _names(folder: ShardFolder) -> list[str]:
    return [path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file()]


def test_each_file_has_one_writer(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.end()
    folder.worker(1).fail("no memory")
    sides = [list(shard_sides.dealt(folder.path)), *(list(shard_sides.done(folder.path, n)) for n in (0, 1))]
    written = [name for side in sides for name in side]
    assert sorted(written) == sorted(name for name in _names(folder) if not name.endswith(".partial"))


def test_a_shard_comes_before_its_order_and_the_end_comes_last(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.end()
    names = list(shard_sides.dealt(folder.path))
    assert names[:2] == ["dealer", "work.json"]
    assert names[-1] == "end"
    assert names.index("input/b.parquet") < names.index("worker-1/orders/b.parquet")


def test_a_worker_wants_only_the_shards_that_it_has_still_to_do(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    names = _names(folder)
    assert list(shard_sides.ordered(names, 0)) == ["dealer", "work.json"]
    assert list(shard_sides.ordered(names, 1)) == [
        "dealer",
        "work.json",
        "input/b.parquet",
        "worker-1/orders/b.parquet",
    ]


def test_a_worker_wants_the_end_and_wants_it_last(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.end()
    assert list(shard_sides.ordered(_names(folder), 1))[-1] == "end"


def test_the_dealer_wants_all_that_its_workers_write_and_nothing_of_its_own(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    folder.worker(1).fail("no memory")
    written = [name for number in (0, 1) for name in shard_sides.done(folder.path, number)]
    assert "worker-1/failed" in written
    assert sorted(shard_sides.of_workers(_names(folder))) == sorted(written)


def test_an_order_without_its_shard_is_all_that_is_wanted_of_it() -> None:
    names = ["work.json", "worker-0/orders/a.parquet"]
    assert list(shard_sides.ordered(names, 0)) == names


def test_a_result_comes_before_its_manifest(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    names = shard_sides.of_workers(_names(folder))
    assert names[:2] == ["worker-0/alive", "worker-1/alive"]
    assert names.index("worker-0/done/a.parquet") < names.index("worker-0/done/a.parquet.json")
    done = list(shard_sides.done(folder.path, 0))
    assert done == [name for name in names if name.startswith("worker-0")]


def test_a_worker_does_not_take_a_file_that_is_being_written_for_an_order(tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder.path / "worker-1" / "orders" / "c.parquet.77.partial").touch()
    assert folder.worker(1).orders() == ["b.parquet"]
