"""Shards dealt to runs elsewhere: threads and processes here, with an engine that only echoes."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from figa_core.errors import EngineError
from figa_core.inference import engine as registry
from figa_core.inference.choice import Work
from figa_core.inference.elsewhere import Elsewhere, RemoteWorker
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.engines import Engines
from figa_core.inference.servers import Servers
from figa_core.inference.shard_folder import DealtWork, LifeWatch, ShardFolder, new_folder, signs_of_life
from figa_core.inference.shard_work import work_on_shards
from figa_core.ports import GenerationRequest, RowFailure, ScoringRequest
from tests.figa_core.inference.echo import ECHO
from tests.figa_core.inference.outcomes import generations, rewards

WORKER = (
    ECHO
    + """
import sys
from pathlib import Path
from figa_core.inference.engine import register_engine
register_engine("echo", Echo)
from figa_core.inference.shard_folder import ShardFolder
from figa_core.inference.shard_work import work_on_shards
work_on_shards(ShardFolder(Path(sys.argv[1])), int(sys.argv[2]), lambda model: "the model")
"""
)
ROWS = [GenerationRequest(f"row-{number}", (number % 7, 4), number) for number in range(60)]


@pytest.fixture(autouse=True)
def _echo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same engine in this process."""
    names: dict[str, Any] = {}
    exec(ECHO, names)
    monkeypatch.setattr(registry, "_factories", {**registry._factories, "echo": names["Echo"]})


@dataclass
class Run:
    """A worker in a thread or a process; `how` it ended."""

    name: str
    how: Callable[[], str | None]
    cancelled: bool = False

    def ended(self) -> str | None:
        return self.how()

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Threads:
    """Workers in threads of this process; those in `late` never begin."""

    fingerprint: str = "the model"
    late: tuple[int, ...] = ()
    runs: list[Run] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    done: dict[int, int] = field(default_factory=dict)

    def start(self, task: str, folder: Path, number: int) -> Run:
        self.folders.append(folder)

        def work() -> None:
            with suppress(EngineError):
                self.done[number] = work_on_shards(ShardFolder(folder), number, lambda _: self.fingerprint)

        thread = threading.Thread(target=work)
        if number not in self.late:
            thread.start()
            self.threads.append(thread)
        self.runs.append(Run(f"{task} {number}", lambda: None))
        return self.runs[-1]


@dataclass
class Processes:
    started: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, task: str, folder: Path, number: int) -> Run:
        process = subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(number)])
        self.started.append(process)

        def how() -> str | None:
            return None if process.poll() is None else f"Crashed: code {process.returncode}"

        return Run(f"{task} {number}", how)


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    for folder in threads.folders:
        ShardFolder(folder).end()
    for thread in threads.threads:
        thread.join()


@pytest.fixture
def processes() -> Iterator[Processes]:
    processes = Processes()
    yield processes
    for process in processes.started:
        process.kill()
        process.wait()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.mkdir()
    return path


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def engines_with(told: list[str]) -> Callable[..., Engines]:
    def engines(runs: Threads | Processes, workers: int = 2) -> Engines:
        return Engines(told.append, Elsewhere(workers, runs, lambda _: "the model"))

    return engines


def _settings(model: Path) -> Generating:
    return Generating(model, (2,), rows_per_shard=6)


def test_two_workers_draw_what_one_engine_draws_here(
    engines_with: Callable[..., Engines], threads: Threads, model: Path, tmp_path: Path
) -> None:
    here = Engines().generator("echo", _settings(model), Work(60, 2), tmp_path / "here")
    dealt = engines_with(threads).generator("echo", _settings(model), Work(60, 2), tmp_path / "scratch")
    batches = list(dealt.generate(ROWS))
    assert sorted(map(repr, chain(*batches))) == sorted(map(repr, chain(*here.generate(ROWS))))
    reasons = [row.reason for row in chain(*batches) if isinstance(row, RowFailure)]
    assert reasons == ["nothing to say"] * 9
    assert Counter((model / "drawn").read_text().split()) == dict.fromkeys([r.request_id for r in ROWS], 2)
    for thread in threads.threads:
        thread.join()
    assert sum(threads.done.values()) == 10
    assert not list(tmp_path.rglob("*.parquet"))  # the exchange is cleaned up


def test_rewards_come_back_exactly(
    engines_with: Callable[..., Engines], threads: Threads, model: Path, tmp_path: Path
) -> None:
    texts = [ScoringRequest(f"text-{number}", (number % 10,) * (1 + number)) for number in range(9)]
    settings = Scoring(model, rows_per_shard=4)
    scorer = engines_with(threads).scorer("echo", settings, Work(9, 2), tmp_path / "scratch")
    found = rewards(scorer.score(texts[:9]))
    assert found == {f"text-{number}": (1 + number) / 3 for number in range(9)}


def test_a_killed_worker_costs_its_shard_only_and_another_takes_it(
    engines_with: Callable[..., Engines], processes: Processes, model: Path, tmp_path: Path, told: list[str]
) -> None:
    (model / "fatal").write_text("row-20")
    rows = [replace(row, prompt_ids=(1,)) for row in ROWS]
    dealt = engines_with(processes).generator("echo", _settings(model), Work(60, 2), tmp_path / "scratch")
    batches = list(dealt.generate(rows))
    assert sum(map(len, batches)) == len(rows)
    assert generations(batches).keys() == {row.request_id for row in rows}
    again = [name for name, count in Counter((model / "drawn").read_text().split()).items() if count > 1]
    assert set(again) <= {"row-18", "row-19"}  # the beginning of the shard
    (line,) = told
    assert "its rows go to the others" in line
    assert "Crashed: code -9" in line


def test_a_worker_whose_turn_never_comes_is_not_waited_for(
    engines_with: Callable[..., Engines], threads: Threads, model: Path, tmp_path: Path
) -> None:
    threads.late = (1,)
    dealt = engines_with(threads).generator("echo", _settings(model), Work(60, 2), tmp_path / "scratch")
    assert sum(map(len, dealt.generate(ROWS))) == len(ROWS)
    assert [run.cancelled for run in threads.runs] == [True, True]
    # It comes after all, and finds that there is nothing to do.
    assert work_on_shards(ShardFolder(threads.folders[1]), 1, lambda _: "the model") == 0


def test_no_more_workers_start_than_there_are_shards(
    engines_with: Callable[..., Engines], threads: Threads, model: Path, tmp_path: Path
) -> None:
    dealt = engines_with(threads, workers=8).generator(
        "echo", _settings(model), Work(7, 2), tmp_path / "scratch"
    )
    assert sum(map(len, dealt.generate(ROWS[:7]))) == 7
    assert len(threads.runs) == 2
    assert list(dealt.generate([])) == []
    assert len(threads.runs) == 2


def test_another_model_under_the_same_path_is_refused(
    engines_with: Callable[..., Engines], threads: Threads, model: Path, tmp_path: Path
) -> None:
    threads.fingerprint = "another model"
    dealt = engines_with(threads).generator("echo", _settings(model), Work(60, 2), tmp_path / "scratch")
    with pytest.raises(EngineError, match="is another model on this machine"):
        list(dealt.generate(ROWS))
    assert not (model / "drawn").exists()


def test_a_damaged_result_is_not_taken(
    engines_with: Callable[..., Engines],
    threads: Threads,
    model: Path,
    tmp_path: Path,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    damaged = []
    finish = type(new_folder(tmp_path / "any", "any").worker(0)).finish

    def finish_and_damage(folder: object, shard: str, rows: int) -> None:
        finish(folder, shard, rows)  # pyright: ignore[reportArgumentType]
        if not damaged:
            damaged.append(shard)
            result = folder.result(shard)  # pyright: ignore[reportAttributeAccessIssue]
            result.write_bytes(result.read_bytes()[:-9] + b"disk fault")

    monkeypatch.setattr("figa_core.inference.shard_folder.WorkerFolder.finish", finish_and_damage)
    dealt = engines_with(threads).generator("echo", _settings(model), Work(60, 2), tmp_path / "scratch")
    assert sum(map(len, dealt.generate(ROWS))) == len(ROWS)
    assert "its content is not what was written" in told[0]


def test_a_worker_whose_dealer_is_gone_ends(tmp_path: Path, model: Path) -> None:
    folder = new_folder(tmp_path, "1")
    with signs_of_life(folder.dealer):
        pass  # one sign, and then none
    (folder.path / "work.json").write_text("{}")
    with pytest.raises(EngineError, match="cannot read"):
        work_on_shards(folder, 0, lambda _: "the model")
    _write_work(folder, model)
    with pytest.raises(EngineError, match=r"shows no sign of life"):
        work_on_shards(folder, 0, lambda _: "the model", lost_after_s=0.3)
    assert "no sign of life" in str(folder.worker(0).failure())


def test_signs_of_life_are_noticed(tmp_path: Path) -> None:
    watch = LifeWatch(tmp_path / "alive", lost_after_s=60)
    with signs_of_life(tmp_path / "alive"):
        assert not watch.is_lost()


def test_a_file_that_cannot_be_read_after_long_work_is_no_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("figa_core.inference.shard_folder.time.monotonic", lambda: now)
    watch = LifeWatch(tmp_path / "alive", lost_after_s=60)
    assert not watch.is_lost()
    now = 4000.0  # nobody has asked while a shard was done
    assert not watch.is_lost()
    now = 4030.0
    assert not watch.is_lost()
    now = 4061.0
    assert watch.is_lost()


def test_time_in_which_the_file_here_is_not_the_one_there_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, behind = 0.0, True
    monkeypatch.setattr("figa_core.inference.shard_folder.time.monotonic", lambda: now)
    watch = LifeWatch(tmp_path / "alive", lost_after_s=60, is_behind=lambda: behind)
    for now in range(0, 600, 10):  # noqa: B007 - the clock
        assert not watch.is_lost()
    behind = False
    now = 650.0
    assert not watch.is_lost()
    now = 651.0
    assert watch.is_lost()


def test_a_worker_that_has_ended_is_not_given_up_while_its_results_may_be_on_their_way(
    tmp_path: Path,
) -> None:
    behind = True
    folder = new_folder(tmp_path, "1").worker(0)
    worker = RemoteWorker(Run("worker", lambda: "Crashed: it was killed"), folder, 60, lambda: behind)
    assert worker.trouble() is None
    behind = False
    assert worker.trouble() == "worker (not begun): Crashed: it was killed"


def test_a_worker_has_its_whole_time_after_the_others_are_seen_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, behind = 0.0, False
    monkeypatch.setattr("figa_core.inference.shard_folder.time", SimpleNamespace(monotonic=lambda: now))
    folder = new_folder(tmp_path, "1").worker(0)
    folder.begin()
    worker = RemoteWorker(Run("worker", lambda: None), folder, 60, lambda: behind)
    assert worker.is_ready()
    for now, behind in ((1.0, False), (50.0, True), (51.0, False), (105.0, False)):  # noqa: B007
        assert worker.trouble() is None
    now = 111.0
    assert "no sign of life" in str(worker.trouble())


def test_a_worker_says_why_it_has_ended_also_while_the_others_are_out_of_sight(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, "1").worker(0)
    folder.begin()
    folder.fail("no memory")
    worker = RemoteWorker(Run("worker", lambda: None), folder, 60, lambda: True)
    assert str(worker.trouble()).endswith("no memory")


def test_the_key_of_servers_is_in_no_file(
    engines_with: Callable[..., Engines], threads: Threads, model: Path, tmp_path: Path
) -> None:
    """A trained model is sampled by another engine although the settings have servers."""
    settings = replace(_settings(model), servers=Servers(("http://127.0.0.1:9",), api_key="a-secret-key"))
    dealt = engines_with(threads).generator("echo", settings, Work(60, 2), tmp_path / "scratch")
    batches = dealt.generate(ROWS)
    next(batches)
    (work,) = (tmp_path / "scratch").rglob("work.json")
    assert "a-secret-key" not in work.read_text()
    read = ShardFolder(work.parent).read_work()
    assert replace(read.settings, stop_token_ids=(2,)) == replace(settings, servers=None)
    assert read.work == Work(30, 2)
    batches.close()  # pyright: ignore[reportAttributeAccessIssue] - the stage stops early
    assert ShardFolder(work.parent).has_ended()


def _write_work(folder: ShardFolder, model: Path) -> None:
    folder.write_work(DealtWork("echo", _settings(model), Work(1, 1), "the model"))
