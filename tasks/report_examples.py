"""What a report shows of single rows: pairs that were trained on, and held-out answers before and after."""

from figa_core.chat.format import load_chat_format
from figa_core.config import PipelineConfig
from figa_core.report.comparison import Metric, first_difference, scores_of, spread_prompts
from figa_core.report.data import Example, HeldOutAnswer
from figa_core.report.tokens import example_of
from figa_core.shards.read import find_pairs
from figa_core.storage import comparisons, summary
from figa_core.storage.comparisons import Contest
from figa_core.storage.runs import Run
from tasks.judged_models import JudgedModels
from tasks.prefer import generators_of
from tasks.workspace import Workspace

_PAIRS = 10
_ANSWERS = 20


def pair_examples(workspace: Workspace, run: Run, config: PipelineConfig) -> tuple[Example, ...]:
    """Weighed pairs, spread evenly from the smallest to the largest gain in reward."""
    shard_set_id = run.found.shard_set_id
    if shard_set_id is None:
        return ()
    spread = summary.spread_pairs(workspace.database, run.run_id, run.found.training_scorer, _PAIRS)
    rows = {row.pair_id: row for row in spread}
    pairs = find_pairs(workspace.shards(shard_set_id), list(rows))
    decode = load_chat_format(config.generation.model).decode
    return tuple(
        example_of(
            pair,
            decode,
            messages=rows[pair.pair_id].messages,
            reference=rows[pair.pair_id].reference,
            reference_reward=rows[pair.pair_id].reference_reward,
            kind=rows[pair.pair_id].type,
        )
        for pair in pairs
    )


def held_out_answers(
    workspace: Workspace, run: Run, config: PipelineConfig, models: JudgedModels
) -> tuple[HeldOutAnswer, ...]:
    """Answers of the base and the main model, spread evenly from the most worsened to the most improved."""
    base, main = models.base, models.main
    if base is None or main is None or (compared := first_difference(base, main)) is None:
        return ()
    metric: Metric = compared[0]
    wanted = spread_prompts(base, main, metric, _ANSWERS)
    generators = generators_of(workspace.database, run.run_id)
    contest = Contest(
        run.run_id, generators[base.label], generators[main.label], config.evaluation.max_prompts
    )
    rows = {row.prompt_id: row for row in comparisons.answers_to(workspace.database, contest, wanted)}
    before, after = scores_of(base, metric), scores_of(main, metric)
    return tuple(
        HeldOutAnswer(row.messages, row.one_text, row.other_text, before[key], after[key], row.type)
        for key in wanted
        if (row := rows.get(key))
    )
