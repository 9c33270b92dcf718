"""Which files of a `shard_folder` are written by which side, for machines that do not share a disk.

Names are relative to the folder. The order is the one in which files are to appear on the other side: signs
of life first, a shard before its order, a result before its manifest.
"""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from figa_core.files import PARTIAL

_ORDERS, _DONE = "orders", "done"


def dealt(folder: Path) -> Iterator[str]:
    """What the dealer has written."""
    yield "dealer"
    yield "work.json"
    yield from _below(folder, "input")
    for worker in sorted(path.name for path in folder.glob("worker-*")):
        yield from _below(folder, f"{worker}/{_ORDERS}")
    if (folder / "end").exists():
        yield "end"


def of_workers(names: Collection[str]) -> list[str]:
    """What the dealer wants of the names in the store."""
    wanted = ("alive", "begun", "failed", _DONE)
    found = [name for name in names if name.startswith("worker-") and name.split("/")[1] in wanted]
    return sorted(found, key=_order_of_result)


def done(folder: Path, number: int) -> Iterator[str]:
    """What a worker has written."""
    mine = f"worker-{number}"
    names = [f"{mine}/alive", f"{mine}/begun", *_below(folder, f"{mine}/{_DONE}"), f"{mine}/failed"]
    yield from (name for name in sorted(names, key=_order_of_result) if (folder / name).exists())


def ordered(names: Collection[str], number: int) -> Iterator[str]:
    """What a worker wants of the names in the store: its own orders, and the shards for those still to do."""
    orders = sorted(name for name in names if name.startswith(f"worker-{number}/{_ORDERS}/"))
    for name in ("dealer", "work.json"):
        if name in names:
            yield name
    for order in orders:
        shard = order.rpartition("/")[2]
        if f"worker-{number}/{_DONE}/{shard}.json" not in names:
            if f"input/{shard}" in names:
                yield f"input/{shard}"
            yield order
    if "end" in names:
        yield "end"


def _below(folder: Path, name: str) -> list[str]:
    directory = folder / name
    found = directory.iterdir() if directory.is_dir() else ()
    return sorted(f"{name}/{path.name}" for path in found if path.suffix != PARTIAL)


def _order_of_result(name: str) -> tuple[int, str]:
    last: Iterable[str] = (".json", "/failed")
    return 0 if name.endswith("/alive") else 2 if name.endswith(tuple(last)) else 1, name
