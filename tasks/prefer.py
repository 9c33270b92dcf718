"""Stage prefer: two models' held-out answers → which of them a judge prefers, through the journal.

The stage's result is stored like an evaluation, as the metric "preferred to …"; nothing is paid for twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from figa_core.config import PipelineConfig
from figa_core.errors import InputError
from figa_core.evaluation.preference import Preference, preference
from figa_core.ports import ProgressCallback
from figa_core.records import Split
from figa_core.report.data import JudgedPair
from figa_core.storage import comparisons
from figa_core.storage.comparisons import Contest
from figa_core.storage.database import Database
from figa_core.storage.evaluations import (
    Evaluation,
    evaluations_of,
    prompt_values,
    save_evaluation,
)
from figa_core.storage.judgements import Judged
from figa_core.storage.responses import Samples
from figa_core.storage.runs import Run
from tasks.judge_settings import JudgeSections, pairwise_settings
from tasks.results import no_progress
from tasks.score_by_judge import BatchRunner, JudgedTexts, ask_judge, judge_batch
from tasks.workspace import Workspace

_METRIC = "preferred to "


@dataclass(frozen=True, slots=True)
class Side:
    """A model by its name in the report, and the generator of its held-out answers."""

    label: str
    generator: str


def is_judged(config: PipelineConfig) -> bool:
    """Whether an LLM compares the models' answers."""
    return config.evaluation.judge.model is not None


def judge_sections(config: PipelineConfig) -> JudgeSections:
    """The settings of the judge that compares answers."""
    return JudgeSections.of(config, config.evaluation.judge)


def side_of(workspace: Workspace, run_id: str, label: str) -> Side:
    """A model of a run's report by its name there.

    Raises:
        InputError: none of this name has been evaluated.
    """
    generators = generators_of(workspace.database, run_id)
    if label not in generators:
        names = ", ".join(map(repr, sorted(generators))) or "none"
        raise InputError(
            f"{label!r}: no model of this name was evaluated in {run_id}; evaluated were: {names}."
        )
    return Side(label, generators[label])


def generators_of(database: Database, run_id: str) -> dict[str, str]:
    """The generator of each evaluated model's held-out answers, by its name in the report."""
    return {
        row.label: row.generator_id for row in evaluations_of(database, run_id) if not _is_preference(row)
    }


async def prefer(
    workspace: Workspace,
    run_id: str,
    config: PipelineConfig,
    one: Side,
    other: Side,
    *,
    run_batch: BatchRunner = judge_batch.fn,
    on_progress: ProgressCallback = no_progress,
    on_note: Callable[[str], None] = lambda _: None,
) -> JudgedTexts:
    """Ask which answers are better, in both orders, and store the win rate of `other` against `one`.

    Raises:
        ConfigError: there is no judge, or its key is missing.
        LLMError: the endpoint refuses more questions than are tolerated; what was answered is stored.
    """
    database, sections = workspace.database, judge_sections(config)
    settings = pairwise_settings(sections)
    contest = Contest(run_id, one.generator, other.generator, config.evaluation.max_prompts)
    comparison = settings.comparison_id(one.generator, other.generator)
    found = await ask_judge(
        workspace,
        Judged(run_id, comparison, contest.source),
        sections,
        settings,
        comparisons.iter_unjudged(database, contest, comparison),
        comparisons.requests,
        run_batch=run_batch,
        on_progress=on_progress,
        on_note=on_note,
    )
    result = preference(comparisons.compared(database, contest, comparison))
    if result.win_rate.mean is not None:
        save_evaluation(database, _evaluation(run_id, one, other, comparison, result))
    return found


def judged_pairs(workspace: Workspace, run: Run, config: PipelineConfig) -> Iterator[JudgedPair]:
    """The stored comparisons of a run, with all their figures."""
    rows = evaluations_of(workspace.database, run.run_id)
    generators = {row.label: row.generator_id for row in rows if not _is_preference(row)}
    for row in rows:
        one = row.metric.removeprefix(_METRIC)
        if not _is_preference(row) or one not in generators or generators.get(row.label) != row.generator_id:
            continue  # of a model that another one has replaced
        most = config.evaluation.max_prompts
        contest = Contest(run.run_id, generators[one], row.generator_id, most)
        compared = comparisons.compared(workspace.database, contest, row.scorer_id)
        changes = _verifier_changes(workspace, run, config, rows, (one, row.label))
        model = config.evaluation.judge.model or "an LLM"
        yield JudgedPair(one, row.label, model, preference(compared, changes))


def _verifier_changes(
    workspace: Workspace, run: Run, config: PipelineConfig, rows: list[Evaluation], labels: tuple[str, str]
) -> dict[str, float]:
    """Prompt id → the other model's verifier value − the one model's; empty without a verifier."""
    one, other = (_verifier_values(workspace, run, config, rows, label) for label in labels)
    return {key: other[key] - one[key] for key in one.keys() & other.keys()}


def _verifier_values(
    workspace: Workspace, run: Run, config: PipelineConfig, rows: list[Evaluation], label: str
) -> dict[str, float]:
    row = next((row for row in rows if row.label == label and row.metric == "verifier"), None)
    if row is None:
        return {}
    samples = Samples(run.run_id, row.generator_id, Split.HELD_OUT, max_prompts=config.evaluation.max_prompts)
    return prompt_values(workspace.database, samples, row.scorer_id)


def _is_preference(row: Evaluation) -> bool:
    return row.metric.startswith(_METRIC)


def _evaluation(run_id: str, one: Side, other: Side, comparison: str, result: Preference) -> Evaluation:
    assert result.win_rate.mean is not None
    return Evaluation(
        run_id=run_id,
        label=other.label,
        metric=f"{_METRIC}{one.label}",
        generator_id=other.generator,
        scorer_id=comparison,
        n=result.win_rate.n,
        mean=result.win_rate.mean,
        standard_error=result.win_rate.standard_error,
        left_out=result.left_out,
    )
