"""A judge's comparison of models' held-out answers, within a run or by itself."""

from collections.abc import Iterator

from figa_core.config import PipelineConfig
from figa_core.errors import LLMError
from flows.run.open_run import OpenRun
from flows.run.story import Story
from tasks.open_rows import cause_lines, open_text
from tasks.prefer import Side, prefer
from tasks.results import StageCounts
from tasks.score_by_judge import BatchRunner, JudgedTexts, judge_batch


async def prefer_answers(
    story: Story,
    run: OpenRun,
    config: PipelineConfig,
    one: Side,
    other: Side,
    *,
    run_batch: BatchRunner = judge_batch,
) -> None:
    """Compare two models' held-out answers; what the judge does not answer is left out, with a warning.

    The models are trained and evaluated by now, so a judge that fails does not end the run.
    `run_batch`: outside a Prefect flow, `judge_batch.fn`.
    """
    stopping = f"answers under way are awaited for {config.revision_batches.drain_s:.0f} s"
    with story.stage(f"compare {other.label} with {one.label} by judge", stopping=stopping) as stage:
        stage.counts = StageCounts(0, 0)
        try:
            found = await prefer(
                run.workspace,
                run.run_id,
                config,
                one,
                other,
                run_batch=run_batch,
                on_progress=stage.show,
                on_note=story.progress.line,
            )
        except LLMError as error:
            run.warn(f"evaluation.judge: {other.label} and {one.label} were not compared: {error}")
            return
        stage.counts = found.counts
    for line in _lines(found):
        run.warn(f"evaluation.judge: {line}")


def _lines(found: JudgedTexts) -> Iterator[str]:
    if found.open_rows:
        yield (
            f"{open_text(found.open_by_kind, 'judgements')}: these prompts are left out. A Retry asks "
            f"for them only.{cause_lines(found.open_causes)}"
        )
    if found.without:
        yield (
            f"{found.without:,} of {found.counts.n_in:,} questions have no usable answer; these prompts are "
            f"left out.{cause_lines(found.unfit_causes)}"
        )
