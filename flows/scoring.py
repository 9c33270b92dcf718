"""Scores texts by a reward of a run: by each of its parts, and then combined."""

from collections.abc import Callable
from dataclasses import dataclass

from figa_core.config import JudgeRewardConfig, PipelineConfig, ProgramRewardConfig
from figa_core.storage.combined import scales_of
from figa_core.storage.scores import Source, answers_of, kept_responses_of
from flows.run.open_run import OpenRun
from flows.run.story import STORED, RunningStage, Story
from tasks.combine import combine, flat_lines
from tasks.judge_settings import JudgeSections
from tasks.results import StageCounts
from tasks.rewards import Part, Reward
from tasks.score import score
from tasks.score_by_judge import check_judged, judge_batch, open_line, score_by_judge
from tasks.score_by_program import score_by_program


async def score_texts(
    story: Story,
    run: OpenRun,
    config: PipelineConfig,
    reward: Reward,
    source: Source,
    title: str,
    *,
    sets_scale: bool = False,
) -> None:
    """Give each text of `source` its value of this reward; one that has it is not scored again.

    `sets_scale`: the texts are the run's own responses, from which the scale of a combined reward is taken.

    Raises:
        FigaError: a part cannot rate the texts; see the tasks.
    """
    scoring = Scoring(run, config, story.progress.line)
    for part in reward.parts:
        of = f"{title} by {part.name}" if reward.is_combined else title
        with story.stage(of, stopping=scoring.stopping(part)) as stage:
            stage.counts = await scoring.by_part(part, source, stage)
    if reward.is_combined:
        with story.stage(f"{title}, combined") as stage:
            stage.counts = combine(run.workspace, reward, source, sets_scale=sets_scale)
        if sets_scale:
            for line in flat_lines(reward, scales_of(run.workspace.database, reward.scorer)):
                run.warn(line)


async def rate_texts(
    story: Story, run: OpenRun, config: PipelineConfig, reward: Reward, source: Source, stage: RunningStage
) -> StageCounts:
    """The same within a stage that rates other texts, too."""
    scoring, counts = Scoring(run, config, story.progress.line), StageCounts(0, 0)
    for part in reward.parts:
        counts = await scoring.by_part(part, source, stage)
    return combine(run.workspace, reward, source) if reward.is_combined else counts


async def score_own_responses(story: Story, run: OpenRun, config: PipelineConfig) -> None:
    """The responses before the filter: by its reward, and by those that are combined or needed for each."""
    texts = answers_of(run.run_id, run.generator)
    await score_texts(story, run, config, run.rewards.filter, texts, "score responses", sets_scale=True)
    for reward in run.rewards.distinct:
        of_each = reward is run.rewards.training and config.generation.samples_per_prompt > 1
        if reward != run.rewards.filter and (reward.is_combined or of_each):
            title = f"score responses for {_use(run, reward)}"
            await score_texts(story, run, config, reward, texts, title, sets_scale=True)


async def score_kept_responses(story: Story, run: OpenRun, config: PipelineConfig) -> None:
    """Those that are revised, by the reward that they are trained on, if the filter went by another one."""
    if run.rewards.training.scorer != run.rewards.filter.scorer:
        texts = kept_responses_of(run.run_id)
        await score_texts(story, run, config, run.rewards.training, texts, "score kept responses")


def _use(run: OpenRun, reward: Reward) -> str:
    return "the admission" if reward == run.rewards.training else "the evaluation"


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores texts by one part of a reward, whatever it is; `note` prints a line."""

    run: OpenRun
    config: PipelineConfig
    note: Callable[[str], None]

    def stopping(self, part: Part) -> str:
        """What happens first if a person stops the stage."""
        if not isinstance(part.config, JudgeRewardConfig):
            return STORED
        return f"answers under way are awaited for {self.config.revision_batches.drain_s:.0f} s"

    async def by_part(self, part: Part, source: Source, stage: RunningStage) -> StageCounts:
        """Raises FigaError if it cannot rate the texts; see the tasks."""
        run, reward = self.run, part.config
        if isinstance(reward, ProgramRewardConfig):
            return score_by_program(run.workspace, part, source, on_progress=stage.on_progress)
        if isinstance(reward, JudgeRewardConfig):
            return await self._by_judge(part, reward, source, stage)
        return score(run.workspace, reward, source, engines=run.engines, on_progress=stage.on_progress)

    async def _by_judge(
        self, part: Part, judge: JudgeRewardConfig, source: Source, stage: RunningStage
    ) -> StageCounts:
        run, tolerated = self.run, self.config.revision_batches.failed_share_max
        found = await score_by_judge(
            run.workspace,
            run.run_id,
            part,
            JudgeSections.of(self.config, judge),
            source,
            run_batch=judge_batch,
            on_progress=stage.show,
            on_note=self.note,
        )
        check_judged(found, part.name, tolerated)
        if line := open_line(found, part.name):
            run.warn(line)
        return found.counts
