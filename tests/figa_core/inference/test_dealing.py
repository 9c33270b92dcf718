"""Which worker gets which shard, and what happens to the shards of one that ends."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.errors import EngineError, InterruptedRunError
from figa_core.inference.dealing import deal
from figa_core.processes import interruption


class Worker:
    """Finishes one shard whenever it is looked at; ends when it comes to the shard `fatal`."""

    def __init__(
        self, name: str, *, fatal: str | None = None, ready: bool = True, slow: bool = False
    ) -> None:
        self.name, self.fatal, self.ready, self.slow = name, fatal, ready, slow
        self.given: list[str] = []
        self.done: list[str] = []
        self.most_held = 0

    def is_ready(self) -> bool:
        return self.ready

    def give(self, shard: str) -> None:
        self.given.append(shard)
        self.most_held = max(self.most_held, len(self.given) - len(self.done))

    def result(self, shard: str) -> Path | None:
        if self.slow or shard == self.fatal or shard in self.done:
            return None
        self.done.append(shard)
        return Path(self.name, shard)

    def trouble(self) -> str | None:
        return f"{self.name} died" if self.given[len(self.done) :][:1] == [self.fatal] else None


def _shards(count: int) -> list[str]:
    return [f"shard-{number}" for number in range(count)]


def _dealt(shards: list[str], *workers: Worker, told: list[str] | None = None) -> dict[str, str]:
    """The worker of each shard; every shard has one result."""
    found = list(deal(shards, workers, (told if told is not None else []).append))
    assert sorted(name for name, _ in found) == sorted(shards)
    return {name: path.parent.name for name, path in found}


@pytest.fixture
def asked_to_stop() -> Iterator[None]:
    interruption.request()
    yield
    interruption.clear()


def test_all_workers_take_part() -> None:
    assert set(_dealt(_shards(6), Worker("a"), Worker("b"), Worker("c")).values()) == {"a", "b", "c"}


def test_one_worker_does_everything_in_order() -> None:
    worker = Worker("a")
    assert [name for name, _ in deal(_shards(4), [worker])] == _shards(4)
    assert worker.most_held == 2  # one waits, so that it is never idle


def test_the_last_shards_do_not_wait_behind_others() -> None:
    workers = [Worker("a"), Worker("b")]
    assert set(_dealt(_shards(2), *workers).values()) == {"a", "b"}
    assert [worker.most_held for worker in workers] == [1, 1]


def test_a_worker_that_has_not_begun_gets_nothing() -> None:
    absent = Worker("b", ready=False)
    assert set(_dealt(_shards(5), Worker("a"), absent).values()) == {"a"}
    assert absent.given == []


def test_what_a_worker_held_when_it_ended_goes_to_another() -> None:
    told: list[str] = []
    dying, other = Worker("a", fatal="shard-0"), Worker("b")
    assert set(_dealt(_shards(8), dying, other, told=told).values()) == {"b"}
    assert dying.given  # it had some
    assert told == ["a has ended, and its rows go to the others: a died"]


def test_what_a_worker_finished_before_it_ended_counts() -> None:
    dying = Worker("a", fatal="shard-6")
    workers = _dealt(_shards(9), dying, Worker("b"))
    assert {name for name, worker in workers.items() if worker == "a"} == set(dying.done) != set()
    assert "shard-6" not in dying.done or workers["shard-6"] == "b"


def test_the_end_of_all_workers_is_an_error_with_the_last_ones_trouble() -> None:
    with pytest.raises(EngineError, match=r"^b died$"):
        _dealt(_shards(9), Worker("a", fatal="shard-0"), Worker("b", fatal="shard-1"))


def test_a_shard_at_which_two_workers_ended_is_not_given_to_a_third() -> None:
    third = Worker("c")
    with pytest.raises(EngineError, match="died"):
        _dealt(_shards(9), Worker("a", fatal="shard-0"), Worker("b", fatal="shard-0"), third)
    assert "shard-0" not in third.given


@pytest.mark.usefixtures("asked_to_stop")
def test_a_request_to_stop_ends_the_wait() -> None:
    with pytest.raises(InterruptedRunError):
        _dealt(_shards(1), Worker("a", slow=True))
