"""The results of the load benchmark: two tables, and a flat object of numbers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from tests.benchmarks.figures import Spread, spread
from tests.benchmarks.load_side import Run

_SHARES = (0.1, 0.5, 1.0)


@dataclass(frozen=True, slots=True)
class Findings:
    """With and without Prefect: all rows once, and a tenth of them several times."""

    rows: int
    whole: Run
    whole_plain: Run
    tenth: Sequence[Run]
    tenth_plain: Sequence[Run]

    @property
    def slower_share(self) -> float:
        """The share of its wall time by which the flow with all rows is slower than the plain functions."""
        return 1.0 - self.whole_plain.seconds / self.whole.seconds

    @property
    def noise_share(self) -> float:
        """The difference between repeats, as a share of their median."""
        spreads = (_over(runs, _seconds) for runs in (self.tenth, self.tenth_plain))
        return max((seconds.largest - seconds.least) / seconds.median for seconds in spreads)

    @property
    def more_cpu_share(self) -> float:
        """The share of the CPU of flow and server that the plain functions do not need."""
        cpu_s = self.whole.outcome.cpu_s + self.whole.samples.cpu_s("server")
        return 1.0 - self.whole_plain.outcome.cpu_s / cpu_s

    @property
    def orchestration_share(self) -> float:
        """Of the wall time: the larger of two figures, or the one without noise; see `load`."""
        outside, slower = _outside(self.whole), self.slower_share
        return max(outside, slower) if slower > self.noise_share else outside

    def figures(self) -> dict[str, float]:
        """The main figures first, then their parts."""
        return {
            "rows": self.rows,
            "rows_revised": self.whole.outcome.revised,
            "rows_per_second": self.rows / self.whole.seconds,
            "task_runs": self.whole.task_runs,
            "orchestration_share": self.orchestration_share,
            "client_rss_growth_mb": _peak(self.whole) - _over(self.tenth, _peak).median,
            "client_rss_growth_mb_after_tenth_generated": (
                self.whole.samples.peak_rss_mb("client", _generated_at(self.whole, 0.1))
                - _rss_at(self.whole, 0.1)
            ),
            "slower_than_plain_share": self.slower_share,
            "noise_share": self.noise_share,
            "more_cpu_than_plain_share": self.more_cpu_share,
            **dict(self._of_runs()),
            **dict(self._of_stages()),
        }

    def _of_runs(self) -> Iterator[tuple[str, float]]:
        measures: dict[str, Callable[[Run], float]] = {
            "outside_tasks_share": _outside,
            "seconds": _seconds,
            "client_rss_mb_peak": _peak,
            "cpu_s_client": lambda run: run.outcome.cpu_s,
            "cpu_s_server": lambda run: run.samples.cpu_s("server"),
            "cpu_s_teacher": lambda run: run.samples.cpu_s("teacher"),
            "server_rss_mb_peak": lambda run: run.samples.peak_rss_mb("server"),
            "other_work_cores": lambda run: run.other_cores,
        }
        for name, of in measures.items():
            for suffix, one, several in (
                ("", self.whole, self.tenth),
                ("_plain", self.whole_plain, self.tenth_plain),
            ):
                yield f"{name}{suffix}", of(one)
                yield from _over(several, of).named(f"{name}_tenth{suffix}").items()

    def _of_stages(self) -> Iterator[tuple[str, float]]:
        for share in _SHARES:
            yield f"client_rss_mb_at_{100 * share:.0f}_percent", _rss_at(self.whole, share)
        for index, stage in enumerate(self.whole.outcome.stages):
            key = stage.name.replace(" ", "_")
            yield f"seconds_{key}", stage.seconds
            yield f"rows_per_second_{key}", self.rows / stage.seconds
            yield f"client_rss_mb_peak_{key}", _peak_of(self.whole, index)


def stage_table(found: Findings) -> Table:
    """The time of each stage."""
    whole, outside = found.whole, dict(found.whole.outcome.outside_by_stage())
    title = f"load: {found.rows:,} prompts, {whole.outcome.revised:,} of them revised"
    shown = Table("stage", title=f"{title}; a tenth: median, min and max of repeats")
    for column in ("prompts/s", "s", "s outside tasks", "no Prefect: s", "a tenth: s", "no Prefect: s"):
        shown.add_column(column, justify="right", no_wrap=True)

    def add(name: str, seconds: Callable[[Run], float], outside_s: float) -> None:
        shown.add_row(
            name,
            f"{found.rows / seconds(whole):,.0f}",
            f"{seconds(whole):.1f}",
            f"{outside_s:.2f}",
            f"{seconds(found.whole_plain):.1f}",
            *(str(_over(runs, seconds)) for runs in (found.tenth, found.tenth_plain)),
        )

    for index, stage in enumerate(whole.outcome.stages):
        add(stage.name, _seconds_of(index), outside[stage.name])
    shown.add_section()
    add("whole", _seconds, _outside(whole) * whole.seconds)
    return shown


def share_lines(found: Findings) -> Iterator[str]:
    """The cost of orchestration."""
    for name, one, several in (
        ("with Prefect", found.whole, found.tenth),
        ("without", found.whole_plain, found.tenth_plain),
    ):
        shares = f"{_outside(one):.1%}; a tenth: {_over(several, _outside)}"
        yield f"outside the tasks' functions, {name}: {shares}"
    yield (
        f"slower than without Prefect: {found.slower_share:.1%} of the wall time, {found.more_cpu_share:.1%} "
        f"of the CPU; repeats differ by {found.noise_share:.1%}"
    )
    yield f"orchestration_share: {found.orchestration_share:.1%}"


def memory_table(found: Findings) -> Table:
    """CPU and memory."""
    shown = Table("what", title="load: memory and CPU")
    for column in ("all", "no Prefect", "a tenth", "no Prefect"):
        shown.add_column(column, justify="right", no_wrap=True)

    def add(what: str, of: Callable[[Run], float]) -> None:
        once = (f"{of(run):,.4g}" for run in (found.whole, found.whole_plain))
        shown.add_row(what, *once, *(str(_over(r, of)) for r in (found.tenth, found.tenth_plain)))

    for share in _SHARES:
        add(f"client MB, {share:.0%} generated", lambda run, share=share: _rss_at(run, share))
    for index, stage in enumerate(found.whole.outcome.stages):
        add(f"client peak MB: {stage.name}", lambda run, index=index: _peak_of(run, index))
    add("client peak MB", _peak)
    add("server peak MB", lambda run: run.samples.peak_rss_mb("server"))
    add("CPU s: client", lambda run: run.outcome.cpu_s)
    add("CPU s: server", lambda run: run.samples.cpu_s("server"))
    add("CPU s: teacher", lambda run: run.samples.cpu_s("teacher"))
    add("task runs", lambda run: run.task_runs)
    add("cores other work used", lambda run: run.other_cores)
    return shown


def line(run: Run, rows: int, *, prefect: bool) -> str:
    """A finished run, in one line."""
    return (
        f"{rows:,} prompts {'with' if prefect else 'without'} Prefect: {run.seconds:.1f} s, "
        f"{run.outcome.outside_share():.1%} outside the tasks, client peak {_peak(run):.0f} MB, "
        f"{run.task_runs} task runs, other work {run.other_cores:.1f} cores"
    )


def _over(runs: Sequence[Run], of: Callable[[Run], float]) -> Spread:
    return spread([of(run) for run in runs])


def _seconds(run: Run) -> float:
    return run.seconds


def _outside(run: Run) -> float:
    return run.outcome.outside_share()


def _seconds_of(index: int) -> Callable[[Run], float]:
    return lambda run: run.outcome.stages[index].seconds


def _peak(run: Run) -> float:
    return run.samples.peak_rss_mb("client")


def _peak_of(run: Run, stage: int) -> float:
    span = run.outcome.stages[stage]
    within = run.samples.peak_rss_mb("client", span.begun, span.ended)
    return within or run.samples.rss_mb("client", span.ended)  # a short stage may have no sample


def _generated_at(run: Run, share: float) -> float:
    """When this share of the prompts had a response."""
    rows = run.outcome.generated[-1][0]
    return next(at for done, at in run.outcome.generated if done >= share * rows)


def _rss_at(run: Run, share: float) -> float:
    return run.samples.rss_mb("client", _generated_at(run, share))
