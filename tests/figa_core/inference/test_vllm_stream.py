"""Shards follow each other through the engine without a pause."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from figa_core.inference.vllm_stream import Stream

REFUSED = 13  # a token that the engine refuses


Written = list[tuple[str, list[Any]]]


@dataclass(slots=True)
class Llm:
    """vLLM's interface: a step gives each row with a place a token, up to the number in its prompt."""

    places: int = 100
    wait: threading.Event | None = None  # for it before the first step
    broken: bool = False
    left: dict[str, list[int]] = field(default_factory=dict)
    most_at_once: list[int] = field(default_factory=list)  # rows with a place, by step
    count: int = 0

    @property
    def llm_engine(self) -> "Llm":
        return self

    def enqueue(
        self, prompts: list[dict[str, list[int]]], parameters: list[Any], use_tqdm: bool
    ) -> list[str]:
        assert not use_tqdm
        assert len(parameters) == len(prompts)
        if any(prompt["prompt_token_ids"] == [REFUSED] for prompt in prompts):
            raise ValueError("refused\n  by the engine")
        ids = []
        for prompt in prompts:
            ids.append(f"{self.count}-a1b2")
            self.left[str(self.count)] = prompt["prompt_token_ids"] * 2
            self.count += 1
        return ids

    def step(self) -> list[Any]:
        if self.broken:
            raise RuntimeError("out of memory")
        if self.wait is not None:
            assert self.wait.wait(30)
        running = [*self.left.items()][: self.places]
        self.most_at_once.append(len(running))
        for _, row in running:
            row[0] -= 1
        done = [(key, row) for key, row in running if row[0] == 0]
        for key, _ in done:
            del self.left[key]
        unfinished = [SimpleNamespace(request_id=key, finished=False) for key in [*self.left][:1]]
        return unfinished + [SimpleNamespace(request_id=key, finished=True, of=row[1]) for key, row in done]


@dataclass(slots=True)
class Shard:
    name: str
    prompts: list[list[int]]
    written: Written
    problems: list[str | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.problems = self.problems or [None] * len(self.prompts)

    def parameters(self, row: int, /) -> int:
        return row

    def write(self, found: Any, /) -> None:
        self.written.append((self.name, [each if isinstance(each, str) else each.of for each in found]))


def _shard(name: str, lengths: list[int], written: Written) -> Shard:
    return Shard(name, [[length] for length in lengths], written)


@pytest.fixture
def written() -> Written:
    return []


def _jobs(shards: Sequence[Shard], there: threading.Event) -> Iterator[Shard]:
    """Sets `there` when all of them can be taken."""
    yield from shards
    there.set()


def _run(*shards: Shard, places: int = 100) -> Llm:
    """Draw the shards by an engine whose first step waits until all of them have come."""
    there = threading.Event()
    llm = Llm(places, wait=there)
    Stream(llm).run(_jobs(shards, there), lambda shard: shard)
    return llm


def test_each_row_gets_its_own_output(written: Written) -> None:
    _run(_shard("a", [3, 1, 2], written), _shard("b", [2, 5], written), places=2)
    assert dict(written) == {"a": [3, 1, 2], "b": [2, 5]}


def test_the_next_shard_takes_the_places_of_rows_that_are_done(written: Written) -> None:
    llm = _run(_shard("a", [9, 1], written), _shard("b", [4, 4], written), places=2)
    assert llm.most_at_once == [2] * 9  # no step for the long row alone
    assert [name for name, _ in written] == ["a", "b"]


def test_a_shard_is_written_when_its_last_row_is_done_though_others_are_not(written: Written) -> None:
    _run(_shard("a", [9], written), _shard("b", [2], written))
    assert [name for name, _ in written] == ["b", "a"]


def test_a_row_that_the_engine_refuses_is_its_own_reason_and_the_others_are_drawn(written: Written) -> None:
    _run(_shard("a", [2, REFUSED, 3], written), _shard("b", [REFUSED], written))
    reason = "the engine failed for this row (ValueError: refused by the engine)"
    assert dict(written) == {"a": [2, reason, 3], "b": [reason]}


def test_a_row_with_a_problem_never_reaches_the_engine(written: Written) -> None:
    llm = _run(Shard("a", [[4], [7]], written, ["too long", None]), Shard("b", [[5]], written, ["empty"]))
    assert dict(written) == {"a": ["too long", 7], "b": ["empty"]}
    assert llm.count == 1


def test_a_job_that_comes_later_is_drawn_too(written: Written) -> None:
    def jobs() -> Iterator[Shard]:
        yield _shard("a", [2], written)
        while not written:
            time.sleep(0.001)
        yield _shard("b", [3], written)

    Stream(Llm()).run(jobs(), lambda shard: shard)
    assert written == [("a", [2]), ("b", [3])]


def test_an_error_of_the_engine_ends_it(written: Written) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        Stream(Llm(broken=True)).run([_shard("a", [2], written)], lambda shard: shard)
    assert not written


def test_an_error_of_the_jobs_is_raised_after_those_before_it_have_begun(written: Written) -> None:
    def jobs() -> Iterator[Shard]:
        yield _shard("a", [2], written)
        raise OSError("the pipe is broken")

    with pytest.raises(OSError, match="pipe"):
        Stream(Llm()).run(jobs(), lambda shard: shard)
