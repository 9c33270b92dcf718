"""Methods × learning rates × seeds × numbers of pairs, on the pairs of one run.

The run is built first, as by `build-dataset`; what it has is not repeated. Then each method is trained, on
the GPU pool if there is one, and its models answer the held-out prompts. One part of these chooses the
method's learning rate, the other judges it. Every training is identified by its content, so nothing that is
finished is trained again, and of models that were removed the answers are kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.config import PipelineConfig
from figa_core.config.file import anchor_paths
from figa_core.config.roles import dependent_judge
from figa_core.errors import TrainingError
from figa_core.evaluation.parts import JUDGED_LEAST
from figa_core.report.methods.comparison import MethodsComparison, estimate_methods
from figa_core.report.methods.data import MethodsData, Outcome
from figa_core.report.methods.text import result_sentences, table_lines
from figa_core.shards.sizes import ShardSizes, shard_sizes
from flows.build_dataset import build, grade_words
from flows.checks.comparison import check_comparison, without_effect
from flows.comparison.benchmarking import benchmark_methods
from flows.comparison.contest import Contest
from flows.progress import current
from flows.run.artifacts import publish_methods
from flows.run.open_run import OpenRun, open_run
from flows.run.parameters import run_name
from flows.run.story import Story
from flows.train_model import trains_elsewhere
from tasks.compare import contenders, samples_for_best, schemes_of, trainings_of, weighted_by
from tasks.grading_settings import GradingSections
from tasks.methods_report import write_methods
from tasks.reinforcement import RlData, methods_by_rewards, missing_environments, rl_data
from tasks.results import StageCounts
from tasks.tracking import track_methods
from tasks.weigh import WeighResult, weigh


@dataclass(frozen=True, slots=True)
class MethodsResult:
    """The result of the flow: where the report is, what it shows, and the seconds of each stage."""

    run_id: str
    report: Path
    data: MethodsData
    seconds: dict[str, float]


def _run_name() -> str:
    return f"{run_name()}, methods compared"


@flow(name="compare-methods", flow_run_name=_run_name, persist_result=False)
async def compare_methods(config: PipelineConfig) -> MethodsResult:
    """Train several methods on the pairs of one run, each with its own learning rates, and compare them.

    Run again with the same settings, it continues where it stopped: nothing is generated, paid for or
    trained twice. A training that diverges, and a method that cannot run on these pairs, are rows of the
    table.

    Args:
        config: The run, and what to compare in its section `compare`.

    Raises:
        ConfigError: there would be no prompts to judge by, no room for the models, or a reward that a method
            cannot learn from; or see `figa`.
        EvaluationError: too few held-out prompts; nothing was generated, revised or trained.
        TrainingError: trainings failed other than by diverging; the others are judged, the report is
            written, and the same command tries these again.
        FigaError: what was wrong, where, and what to do; what was done before is stored.
    """
    # Paths typed into a form may be relative.
    config, progress = anchor_paths(config, Path.cwd()), current()
    check_comparison(config)
    for line in () if await trains_elsewhere() else missing_environments(config):
        progress.line(f"warning: {line}; the other methods are compared")
    if line := without_effect(config):
        progress.line(f"warning: {line}")
    with open_run(config, flow_run.name or "compare-methods", progress, reaches="methods compared") as run:
        if line := dependent_judge(config):
            progress.line(f"warning: {line} Name another reward in evaluation.reward, or a verifier.")
        story = Story(progress)
        weighed = await build(story, run, config, held_out_least=JUDGED_LEAST)
        data = await _contest(story, run, config, weighed)
        data = replace(data, benchmarks=benchmark_methods(story, run, config, data))
        found = estimate_methods(data)
        report = write_methods(run.workspace, data, found)
        await publish_methods(run, data, found, report)
        _track(story, run, config, data)
        for line in lines_of(data, found, report):
            progress.line(line)
        check_results(data)
    return MethodsResult(run.run_id, report, data, story.seconds)


async def _contest(story: Story, run: OpenRun, config: PipelineConfig, weighed: WeighResult) -> MethodsData:
    shards = {config.weighting.scheme: weighed.directory}
    with_best = _with_best(story, run, config)  # while the run's grades are those of its own scheme
    for scheme in schemes_of(config):
        if (sections := GradingSections.of(weighted_by(config, scheme))) is not None:
            await grade_words(story, run, config, sections)
        with story.stage(f"weigh by {scheme}") as stage:
            changed = weighted_by(config, scheme).weighting
            result = weigh(
                run.workspace, run.run_id, changed, config.generation, run.rewards.training.scorer,
                of_run=False, on_progress=stage.on_progress,
            )  # fmt: skip
            stage.counts = result.counts
            shards[scheme] = result.directory
    run.engines.end()  # the trainings need the memory
    sizes = shard_sizes(with_best or weighed.directory)
    rl = _by_rewards(run, config, sizes, elsewhere=await trains_elsewhere())
    rows = contenders(run.workspace, config, shards, sizes, with_best, rl)
    count = sum(trainings_of(row, config.compare) for row in rows)
    names = len({row.method.name for row in rows})
    of = "1 method" if names == 1 else f"{names:,} methods"
    cut_off = ", and shorter ones for the curves over the steps" if config.compare.curve_steps else ""
    story.progress.line(f"{count:,} trainings of {of}{cut_off}; finished ones are not repeated")
    contest = Contest(story, run, config, sizes)
    await contest.begin()
    return contest.data([await contest.outcome(row) for row in rows])


def _by_rewards(run: OpenRun, config: PipelineConfig, sizes: ShardSizes, *, elsewhere: bool) -> RlData | None:
    """What methods of reinforcement learning need, if there are any."""
    if not any(methods_by_rewards(config)):
        return None
    return rl_data(
        run.workspace, run.run_id, run.generator, run.rewards.training, config, sizes, elsewhere=elsewhere
    )


def _with_best(story: Story, run: OpenRun, config: PipelineConfig) -> Path | None:
    """The run's pairs with the best sample of each prompt, if a method trains on it."""
    best_of = samples_for_best(config)
    if best_of is None:
        return None
    with story.stage(f"weigh the best of {best_of}") as stage:
        result = weigh(
            run.workspace, run.run_id, config.weighting, config.generation, run.rewards.training.scorer,
            of_run=False, best_of=best_of, on_progress=stage.on_progress,
        )  # fmt: skip
        stage.counts = result.counts
    return result.with_best


def _track(story: Story, run: OpenRun, config: PipelineConfig, data: MethodsData) -> None:
    """Send the scores to the trackers of the trainings, if there are any."""
    if config.tracking.to:
        with story.stage("track") as stage:
            found = track_methods(run.workspace, config.tracking, data)
            stage.counts = StageCounts(found, found)


def lines_of(data: MethodsData, found: MethodsComparison, report: Path) -> Iterator[str]:
    """What a person sees at the end."""
    yield ""
    yield from table_lines(data, found)
    yield ""
    yield from result_sentences(data, found)
    yield f"Report: {report.resolve().as_uri()}"


def check_results(data: MethodsData) -> None:
    """Raises TrainingError if trainings failed. One that diverged is a result."""
    trainings = [each for method in data.methods for each in method.trainings]
    points = [point for method in data.methods for point in method.after_steps]
    trainings += [each for point in points for each in point.trainings if each not in trainings]
    failed = [each for each in trainings if each.outcome is Outcome.FAILED]
    if failed:
        everything = len(trainings)
        raise TrainingError(
            f"{len(failed)} of {everything} trainings failed; the report has the others. The first: "
            f"{failed[0].reason} Correct the cause and run the same command: it tries only these again."
        )
