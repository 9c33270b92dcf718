"""Stage score by a user's program: texts of this run without a value → values, from processes of its own."""

from functools import partial

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.config import ProgramRewardConfig
from figa_core.errors import EngineError
from figa_core.ports import ProgressCallback, RowFailure
from figa_core.records import Score
from figa_core.rewards.program import Program, processes_here
from figa_core.rewards.program_worker import CANNOT_SAY
from figa_core.rewards.worker import ProgramSettings
from figa_core.storage import scores
from figa_core.storage.scores import Source
from tasks.results import StageCounts, no_progress
from tasks.rewards import Part, check_unchanged, log_of
from tasks.row_failures import Failures
from tasks.workspace import Workspace

CONTRACT = (
    "It gets messages and text, and its fields by name, and must return a number, or NaN for a row that it "
    "cannot rate."
)


def program_settings(config: ProgramRewardConfig) -> ProgramSettings:
    """The plain values of a program's settings."""
    return ProgramSettings(config.program, config.fields, config.time_limit_s, config.memory_limit_mib)


@task(name="score-by-program", task_run_name="score {source.name} by {part.name}", cache_policy=NO_CACHE)
def score_by_program(
    workspace: Workspace, part: Part, source: Source, *, on_progress: ProgressCallback = no_progress
) -> StageCounts:
    """Rate the texts of `source` that the program has neither rated nor failed on.

    A text that costs the program its time, its memory or its process is stored with the reason.

    Raises:
        InputError: the program has changed since the run began.
        EngineError: the program cannot be imported or called, or fails for too many of the texts.
    """
    config, scorer, database = part.config, part.scorer, workspace.database
    assert isinstance(config, ProgramRewardConfig)
    missing = scores.count_unscored(database, source, scorer)
    failures = Failures(partial(scores.save_score_failures, database, scorer), missing, no_fault=CANNOT_SAY)
    if missing:
        check_unchanged(part)
        log = log_of(workspace, part.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        pages = scores.iter_unrated(database, source, scorer, config.fields)
        processes = processes_here(config.processes)
        with Program(program_settings(config), log, processes=processes) as program:
            failures.settle(
                (
                    [row if isinstance(row, RowFailure) else Score(row[0], scorer, row[1]) for row in batch]
                    for batch in program.score(row for page in pages for row in page)
                ),
                partial(scores.save_scores, database),
                on_progress,
            )
    return failures.check(
        partial(scores.score_failures, database, source, scorer),
        what=f"{source.name} have no value of {part.name!r} ({config.program})",
        advice=CONTRACT,
        error=EngineError,
        forget=partial(scores.forget_score_failures, database, source, scorer),
    )
