"""The local engine beside a plain vLLM script, on the same rows, in the same environment.

    python -m tests.benchmarks.bare_engine [--quick] [--sandbox]

Both load the model before the clock starts. Two scripts are compared: one with the engine's
own settings of vLLM, so that the ratio is what the engine itself costs (token ids to Parquet files and back,
shards, one process more), and one with vLLM's defaults, which is what a script written by hand has. The
engine's time is measured outside, with its files; the script's inside, around the call.

The script with defaults is measured once: it decides nothing.

Prints a table, and what it leaves out, and writes its figures into ``build/bench/inference.json``.
`--sandbox` leaves out the model of `make real`.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.inference.checkpoint import checkpoint_dtype, weights_bytes
from figa_core.inference.engine import Engine, Generating, Scoring, open_engine
from figa_core.inference.vllm_process import CPU_ENVIRONMENT, ENVIRONMENT, threads_for
from figa_core.inference.vllm_python import find_vllm_python, require_vllm_python
from figa_core.inference.vllm_worker import cpu_settings
from figa_core.ports import GenerationRequest, ScoringRequest
from figa_core.processes.child import Child
from figa_core.sandbox.world import faulty_reply, sample_facts, write_request
from tests.benchmarks import load_stubs
from tests.benchmarks.bare_vllm import WARM_UP
from tests.benchmarks.child import start
from tests.benchmarks.figures import Spread, add, log, show, spread

_REAL = Path("build/real/smollm2-135m-instruct")  # `make real` makes it
_START_S = 300.0
_CALL_S = 3600.0
_MAX_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of the sandbox's models and of the real one, and how often each is measured."""

    sandbox_rows: int
    real_rows: int
    repeats: int


_FULL = Size(sandbox_rows=20_000, real_rows=300, repeats=3)
_QUICK = Size(sandbox_rows=64, real_rows=8, repeats=1)

Drawn = Callable[[Sequence[tuple[int, ...]]], float]
"""Makes rows by the local engine; the seconds that it took."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is measured; `rows`: token ids of prompts, or of whole texts to score."""

    name: str
    task: str
    model: Path
    rows: Sequence[tuple[int, ...]]
    stop_token_ids: tuple[int, ...] = ()

    @property
    def longest(self) -> int:
        return max(map(len, self.rows)) + 1

    @property
    def max_length(self) -> int:
        return self.longest + _MAX_TOKENS

    def settings(self) -> Generating | Scoring:
        """What the local engine gets."""
        if self.task == "score":
            return Scoring(self.model, max_length=self.max_length)
        return Generating(
            self.model, self.stop_token_ids, max_tokens=_MAX_TOKENS, max_prompt_tokens=self.longest
        )

    def bare(self, *, same: bool) -> dict[str, object]:
        """What the script gets: the engine's settings of vLLM, or vLLM's defaults.

        vLLM's CPU build cannot sample with a seed for each row by its defaults: it chunks prompts.
        """
        return {
            "task": self.task,
            "rows": self.rows,
            "model": str(self.model),
            "dtype": checkpoint_dtype(self.model),
            "max_length": self.max_length,
            "max_tokens": _MAX_TOKENS,
            "stop_token_ids": self.stop_token_ids,
            "sampling": {"detokenize": False} if same else {},
            "seeds": same,
            "extra": cpu_settings(self.max_length) | {"disable_log_stats": True} if same else {},
        }


@dataclass(slots=True)
class Speeds:
    """Rows per second of each repeat; of the script with vLLM's defaults there is one."""

    ours: list[float]
    same: list[float]
    default: float = 0.0

    @property
    def share(self) -> Spread:
        """Of the script with the same settings."""
        return spread([own / bare for own, bare in zip(self.ours, self.same, strict=True)])

    @property
    def against_default(self) -> Spread:
        """Of the script with vLLM's defaults."""
        return spread([own / self.default for own in self.ours])


def measure(work: Work, repeats: int, scratch: Path) -> Speeds:
    """The engine and the script with its settings in turns, both loaded; then, alone, the one with defaults.

    vLLM's defaults start processes that keep a core busy even while they wait, and nothing else can be
    measured beside them.

    Raises:
        RuntimeError: a script failed; the message has the end of its log.
        EngineError: the engine failed.
    """
    speeds = Speeds([], [])
    with _script(work, scratch / "same", same=True) as same, open_engine("vllm") as engine:
        ours = _ours(engine, work, scratch / "engine")
        ours(work.rows[:WARM_UP])
        for repeat in range(repeats):
            turns = [(speeds.ours, lambda: ours(work.rows)), (speeds.same, same)]
            for found, seconds in turns[:: 1 if repeat % 2 else -1]:  # neither is always the first
                found.append(len(work.rows) / seconds())
            log(
                f"{work.name}, repeat {repeat + 1}: the engine {speeds.ours[-1]:.1f} rows/s, a script with "
                f"its settings {speeds.same[-1]:.1f}"
            )
    with _script(work, scratch / "default", same=False) as default:
        speeds.default = len(work.rows) / default()
        log(f"{work.name}: a script with defaults {speeds.default:.1f} rows/s")
    return speeds


def _ours(engine: Engine, work: Work, scratch: Path) -> Drawn:
    settings = work.settings()

    def seconds(rows: Sequence[tuple[int, ...]]) -> float:
        begun = time.perf_counter()
        if isinstance(settings, Scoring):
            texts = (ScoringRequest(f"row-{n}", row) for n, row in enumerate(rows))
            found = sum(map(len, engine.scorer(settings, scratch).score(texts)))
        else:
            prompts = (GenerationRequest(f"row-{n}", row, n) for n, row in enumerate(rows))
            found = sum(map(len, engine.generator(settings, scratch).generate(prompts)))
        if found != len(rows):
            raise RuntimeError(f"{found} results of {len(rows)} rows")
        return time.perf_counter() - begun

    return seconds


@contextmanager
def _script(work: Work, scratch: Path, *, same: bool) -> Iterator[Callable[[], float]]:
    scratch.mkdir(parents=True)
    spec, log_path = scratch / "spec.json", scratch / "log"
    spec.write_text(json.dumps(work.bare(same=same)))
    environment = {"OMP_NUM_THREADS": str(threads_for(weights_bytes(work.model)))}
    if same:
        environment |= ENVIRONMENT
    child = start(
        "bare_vllm",
        [spec],
        log_path,
        python=require_vllm_python(),
        takes_input=True,
        **environment,
        **{name: os.environ.get(name, value) for name, value in CPU_ENVIRONMENT.items()},
    )
    try:
        _wait(child, lambda: "ready" in log_path.read_text(errors="replace").splitlines(), _START_S)
        counter = iter(range(1_000_000))

        def seconds() -> float:
            target = scratch / f"seconds-{next(counter)}"
            child.send(str(target).encode())
            _wait(child, target.exists, _CALL_S)
            return float(target.read_text())

        yield seconds
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # with vLLM's own processes
        child.kill()


def _wait(child: Child, until: Callable[[], bool], seconds: float) -> None:
    if not child.wait_until(until, timeout_s=seconds):
        raise RuntimeError(f"the script did not answer:\n{child.log_tail(40)}")


def sandbox_work(root: Path, rows: int) -> list[Work]:
    """Generating and scoring by the sandbox's models."""
    sandbox = load_stubs.models(root)
    chat = load_chat_format(sandbox.base_model)
    prompts = _prompts(chat, rows)
    replies = _replies(load_chat_format(sandbox.reward_model), rows)
    return [
        Work("generate, sandbox", "generate", sandbox.base_model, prompts, tuple(chat.stop_token_ids)),
        Work("score, sandbox", "score", sandbox.reward_model, replies),
    ]


def real_work(rows: int) -> list[Work]:
    """Generating by the model of `make real`."""
    chat = load_chat_format(_REAL)
    prompts = _prompts(chat, rows)
    return [Work("generate, 135 M", "generate", _REAL.absolute(), prompts, tuple(chat.stop_token_ids))]


def _prompts(chat: ChatFormat, rows: int) -> list[tuple[int, ...]]:
    rng = random.Random(0)
    found = chat.prompt_ids_or_reasons([write_request(sample_facts(rng), rng) for _ in range(rows)])
    return [ids for ids in found if not isinstance(ids, str)]


def _replies(chat: ChatFormat, rows: int) -> list[tuple[int, ...]]:
    rng = random.Random(1)
    conversations = []
    for _ in range(rows):
        facts = sample_facts(rng)
        conversations.append((write_request(facts, rng), faulty_reply(facts, rng).text))
    found = chat.conversation_ids_or_reasons(conversations)
    return [ids for ids in found if not isinstance(ids, str)]


def main() -> int:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.bare_engine")
    parser.add_argument("--quick", action="store_true", help="few rows: whether it runs at all")
    parser.add_argument("--sandbox", action="store_true", help="without the real model")
    arguments = parser.parse_args()
    size = _QUICK if arguments.quick else _FULL
    if find_vllm_python() is None:
        log("left out: everything, because no environment has vLLM (`make setup` makes one)")
        return 0
    table = Table(
        "what", "rows", "engine, rows/s", "script, same settings", "share of it", "script, defaults"
    )
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        drawn, scored = sandbox_work(Path(made, "models"), size.sandbox_rows)
        works = {"sandbox": drawn, "score": scored}
        if not _REAL.is_dir():
            log(f"left out: share_of_bare_real, because {_REAL} is not there (`make real` makes it)")
        elif not arguments.sandbox:
            [works["real"]] = real_work(size.real_rows)
        for key, work in works.items():
            found = measure(work, size.repeats, Path(made, key))
            name = "score_share_of_bare" if key == "score" else f"share_of_bare_{key}"
            figures |= found.share.named(name) | found.against_default.named(f"{key}_against_defaults")
            table.add_row(
                work.name,
                f"{len(work.rows):,}",
                str(spread(found.ours)),
                str(spread(found.same)),
                str(found.share),
                f"{found.default:,.4g}; {found.against_default} of it",
            )
    show(table)
    add("inference-quick" if arguments.quick else "inference", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
