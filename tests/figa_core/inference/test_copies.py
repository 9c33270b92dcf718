"""Several copies of a model by vLLM; stub workers behind the real files and processes."""

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from figa_core.errors import EngineError
from figa_core.inference.copies import Copies, CopyPlace, places_of
from figa_core.inference.engine import Generating
from figa_core.inference.vllm import VllmEngine
from figa_core.ports import Generation, GenerationRequest
from figa_core.sandbox.build import Sandbox
from tests.figa_core.inference.outcomes import generations

# Replaces `vllm_worker`: a sample is its row's seed and prompt. It notes who was given what, and works only
# once as many workers as `together` says have been given a shard. A file "at-shard-…" kills the first worker
# that is given that shard, "at-every-shard" all of them.
WORKER = """#!{python}
import json, os, signal, sys, time
from pathlib import Path
from figa_core.inference import exchange
from figa_core.processes.children import die_with_parent
die_with_parent()
here = Path(__file__).parent
together = int((here / "together").read_text())
for line in sys.stdin.buffer:
    job = json.loads(line)
    source = Path(job["input"])
    with (here / "given").open("a") as file:
        print(os.getpid(), source.stem, file=file)
    while len({{line.split()[0] for line in (here / "given").read_text().splitlines()}}) < together:
        time.sleep(0.01)
    if (here / "at-every-shard").exists():
        sys.exit("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    try:
        (here / f"at-{{source.stem}}").unlink()
    except FileNotFoundError:
        pass
    else:
        os.kill(os.getpid(), signal.SIGKILL)
    ids, prompts, seeds = exchange.read_shard(source, exchange.GENERATION_REQUESTS)
    samples = [[seed, *prompt] for prompt, seed in zip(prompts, seeds)]
    columns = [ids, samples, ["stop"] * len(ids), [None] * len(ids)]
    exchange.write_shard(Path(job["output"]), columns, exchange.GENERATIONS)
"""
ROWS = [GenerationRequest(f"row-{number}", (1, number), number) for number in range(80)]


class Stubs:
    """The interpreter, and what its workers were given."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.python = folder, folder / "python"
        self.python.write_text(WORKER.format(python=sys.executable))
        self.python.chmod(0o755)
        self.work_together(1)

    def work_together(self, count: int) -> None:
        (self.folder / "given").write_text("")
        (self.folder / "together").write_text(str(count))

    def die_at(self, shard: str) -> None:
        (self.folder / f"at-{shard}").touch()

    def given(self) -> list[tuple[int, str]]:
        """The worker's pid and the shard, in order."""
        lines = (self.folder / "given").read_text().splitlines()
        return [(int(pid), shard) for pid, shard in map(str.split, lines)]

    def pids(self) -> set[int]:
        return {pid for pid, _ in self.given()}


@pytest.fixture
def stubs(tmp_path: Path) -> Stubs:
    return Stubs(tmp_path / "stubs")


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def engine(stubs: Stubs, told: list[str]) -> Iterator[VllmEngine]:
    with VllmEngine(told.append, python=stubs.python) as engine:
        yield engine


@pytest.fixture
def draw(engine: VllmEngine, sandbox: Sandbox, tmp_path: Path) -> Callable[..., dict[str, Generation]]:
    """The samples of `rows`, eight in a shard, by a number of copies; no row has two."""

    def draw(copies: int, rows: list[GenerationRequest] = ROWS) -> dict[str, Generation]:
        settings = Generating(sandbox.base_model, (2,), rows_per_shard=8, copies=Copies(data_parallel=copies))
        batches = list(engine.generator(settings, tmp_path / "scratch").generate(rows))
        assert sum(map(len, batches)) == len(rows)
        return generations(batches)

    return draw


def test_two_copies_draw_what_one_draws_and_share_the_work(
    stubs: Stubs, draw: Callable[..., dict[str, Generation]]
) -> None:
    alone = draw(1)
    stubs.work_together(2)
    assert draw(2) == alone
    assert alone["row-3"].token_ids == (3, 1, 3)
    assert len(stubs.pids()) == 2
    assert set(Counter(shard for _, shard in stubs.given()).values()) == {1}


def test_a_killed_copy_costs_its_shard_only_and_another_takes_it(
    stubs: Stubs, draw: Callable[..., dict[str, Generation]], told: list[str]
) -> None:
    stubs.work_together(2)
    stubs.die_at("shard-000000")
    assert draw(2).keys() == {row.request_id for row in ROWS}
    times = Counter(shard for _, shard in stubs.given())
    assert {shard for shard, count in times.items() if count > 1} == {"shard-000000"}
    (line,) = [line for line in told if "has ended" in line]
    assert line.startswith("copy ")
    assert "its rows go to the others: the vLLM worker ended with code -9" in line
    assert "generation.vllm.data_parallel" in line  # the kernel kills when the memory is full


def test_the_end_of_all_copies_says_which_setting_to_lower(
    stubs: Stubs, draw: Callable[..., dict[str, Generation]]
) -> None:
    stubs.work_together(2)
    stubs.die_at("every-shard")
    with pytest.raises(EngineError, match=r"lower generation\.gpu_memory_share(.|\n)*tensor_parallel"):
        draw(2)


def test_a_copy_that_died_is_replaced_in_the_next_stage_and_the_others_stay(
    stubs: Stubs, draw: Callable[..., dict[str, Generation]], engine: VllmEngine
) -> None:
    stubs.work_together(2)
    draw(2)
    first, second = stubs.pids()
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while all(worker.is_running() for worker in engine.keeper._workers):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stubs.work_together(2)
    draw(2)
    assert second in stubs.pids()
    assert len(stubs.pids() - {second, first}) == 1


def test_no_copy_starts_that_would_have_no_shard(
    stubs: Stubs, draw: Callable[..., dict[str, Generation]]
) -> None:
    draw(4, ROWS[:8])
    assert len(stubs.pids()) == 1


def test_all_copies_end_with_their_engine(
    stubs: Stubs, draw: Callable[..., dict[str, Generation]], engine: VllmEngine
) -> None:
    stubs.work_together(2)
    draw(2)
    engine.close()
    assert not [pid for pid in stubs.pids() if psutil.pid_exists(pid)]


GPUS = ["4", "5", "6", "7"]


def _devices(copies: Copies, gpus: list[str]) -> list[str | None]:
    return [place.environment.get("CUDA_VISIBLE_DEVICES") for place in places_of(copies, gpus)]


def test_by_default_there_are_as_many_copies_as_fit_on_the_visible_gpus() -> None:
    assert _devices(Copies(), GPUS) == GPUS
    assert _devices(Copies(tensor_parallel=2), GPUS) == ["4,5", "6,7"]
    assert _devices(Copies(tensor_parallel=2), GPUS[:3]) == [None]  # the first two of the visible ones
    assert _devices(Copies(data_parallel=2), GPUS) == ["4", "5"]
    assert _devices(Copies(), ["0"]) == [None]


def test_on_a_cpu_there_is_one_copy_unless_more_are_asked_for() -> None:
    assert places_of(Copies(), None) == [CopyPlace()]
    assert [place.name for place in places_of(Copies(data_parallel=2), None)] == [
        "copy 1 of vLLM",
        "copy 2 of vLLM",
    ]


def test_gpus_that_cannot_be_told_apart_run_one_copy() -> None:
    assert places_of(Copies(tensor_parallel=2), []) == [CopyPlace()]
    with pytest.raises(EngineError, match="CUDA_VISIBLE_DEVICES"):
        places_of(Copies(data_parallel=2), [])


def test_more_gpus_than_there_are_is_an_error_that_names_the_settings() -> None:
    with pytest.raises(EngineError, match=r"reward\.vllm asks for 6 GPUs .* and 4 can be used"):
        places_of(Copies(2, 3, "reward.vllm"), GPUS)
    with pytest.raises(EngineError, match=r"asks for 8 GPUs"):
        places_of(Copies(tensor_parallel=8), GPUS)
    with pytest.raises(EngineError, match=r"tensor_parallel = 2 .* none here"):
        places_of(Copies(tensor_parallel=2), None)
