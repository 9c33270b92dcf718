"""The load benchmark's client: ``python -m tests.benchmarks.load_client SPEC OUTCOME``.

With Prefect it runs the flow `build-dataset`, with stub engines and with its tasks' functions timed. Without
Prefect every task is replaced by its function, and everything that only feeds the UI does nothing.
"""

import asyncio
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any

from prefect import Task

import flows.build_dataset
import flows.run.story
import flows.scoring
from figa_core.config import PipelineConfig
from figa_core.inference.engine import register_engine
from figa_core.ports import ProgressCallback
from flows.build_dataset import BuiltDataset, build, build_dataset
from flows.preflight import check
from flows.progress import Lines, showing
from flows.run.open_run import open_run
from flows.run.story import Story
from flows.server.api import prefect_api
from tasks.results import no_progress
from tasks.weigh import WeighResult
from tests.benchmarks.load_spec import Outcome, Span, Spec
from tests.benchmarks.load_stubs import StubEngine

KEY_VARIABLE = "FIGA_BENCH_KEY"


def main() -> None:
    """Run the spec and write the outcome."""
    spec, outcome = Spec.load(Path(sys.argv[1])), Outcome()
    os.environ[KEY_VARIABLE] = "any-key-does"
    _register_stubs(outcome)
    _time_bodies(outcome)
    progress = Stages(outcome, spec.until)
    config = configuration(spec)
    check(config)  # as the command line does before it starts a server; it imports transformers
    # The benchmark's server is configured, so everything that Prefect's threads send arrives before the end.
    with prefect_api(Path(spec.workspace)) if spec.prefect else nullcontext(), showing(progress):
        begun, cpu = time.time(), time.process_time()
        with suppress(Reached):
            weighed = _with_prefect(config) if spec.prefect else _without_prefect(config, progress)
            outcome.revised = weighed.counts.n_in
        outcome.whole = Span("whole", begun, time.time())
        outcome.cpu_s = time.process_time() - cpu
    outcome.save(Path(sys.argv[2]))
    os._exit(0)  # like the command line: DuckDB's binding prints warnings when the interpreter shuts down


def configuration(spec: Spec) -> PipelineConfig:
    """Every row is a training prompt; the half of the responses with lower rewards is revised."""
    models = {"generation": {"model": spec.base, "max_tokens": 160}, "reward": {"model": spec.reward}}
    return PipelineConfig.model_validate(
        {
            "workspace": {"path": spec.workspace, "name": "load"},
            "prompts": {
                "path": spec.prompts, "limit": spec.rows, "held_out_share": 0.0, "max_prompt_tokens": 200,
            },
            "generation": models["generation"] | {"engine": "stub"},
            "reward": models["reward"] | {"engine": "stub", "max_length": 384},
            "filter": {"response_reward_below": "q0.5"},
            "revision": {
                "base_url": spec.base_url,
                "model": "sandbox-teacher",
                "api_key_env": KEY_VARIABLE,
                "requests_per_minute": 6_000_000,
                "tokens_per_minute": 6_000_000_000,
            },
            "weighting": {"max_length": 384},
        }
    )  # fmt: skip


def _register_stubs(outcome: Outcome) -> None:
    def on_rows(rows: int, at: float) -> None:
        outcome.generated.append((rows, at))

    register_engine("stub", lambda _: StubEngine(on_rows))


_MODULES = (flows.build_dataset, flows.scoring)
"""Those that call the tasks of the flow."""


def _tasks() -> Iterator[tuple[ModuleType, str, Task[Any, Any]]]:
    """The tasks of the flow, by the modules that call them and by their names there."""
    for module in _MODULES:
        for name, value in list(vars(module).items()):
            if isinstance(value, Task):
                yield module, name, value


def _time_bodies(outcome: Outcome) -> None:
    for task in {id(task): task for _, _, task in _tasks()}.values():  # each once
        task.fn = _timed(task.name, task.fn, outcome.bodies)


def _timed(name: str, body: Callable[..., Any], spans: list[Span]) -> Callable[..., Any]:
    @contextmanager
    def timing() -> Iterator[None]:
        begun = time.time()
        try:
            yield
        finally:
            spans.append(Span(name, begun, time.time()))

    @wraps(body)
    async def timed_coroutine(*arguments: Any, **named: Any) -> Any:
        with timing():
            return await body(*arguments, **named)

    @wraps(body)
    def timed(*arguments: Any, **named: Any) -> Any:
        with timing():
            return body(*arguments, **named)

    return timed_coroutine if inspect.iscoroutinefunction(body) else timed


def _with_prefect(config: PipelineConfig) -> WeighResult:
    built = asyncio.run(build_dataset(config))
    assert isinstance(built, BuiltDataset)
    return built.weighed


def _without_prefect(config: PipelineConfig, progress: "Stages") -> WeighResult:
    for module, name, task in _tasks():
        setattr(module, name, task.fn)
    flows.build_dataset.publish_funnel = flows.build_dataset.publish_failures = _nothing
    flows.run.story.progress_artifact = _no_artifact

    async def build_all() -> WeighResult:
        with open_run(config, "plain", progress) as run:
            return await build(Story(progress), run, config)

    return asyncio.run(build_all())


async def _nothing(*_: object) -> None:
    pass


@contextmanager
def _no_artifact(_title: str) -> Iterator[ProgressCallback]:
    yield no_progress


class Reached(Exception):  # noqa: N818 - not an error
    """The last stage that the spec wants is done."""


class Stages(Lines):
    """Prints lines, records when each stage began and ended, and ends the run after the stage `until`."""

    def __init__(self, outcome: Outcome, until: str) -> None:
        super().__init__(lambda line: print(line, flush=True))
        self._outcome, self._until = outcome, until

    @contextmanager
    def stage(self, title: str) -> Iterator[ProgressCallback]:
        """Like `Lines`, with times."""
        begun = time.time()
        with super().stage(title) as on_progress:
            yield on_progress
        self._outcome.stages.append(Span(title, begun, time.time()))
        if title == self._until:
            raise Reached


if __name__ == "__main__":
    main()
