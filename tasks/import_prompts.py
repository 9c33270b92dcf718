"""Stage import: a file of prompts → prompts, references and bad rows of this run."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.chat import load_chat_format
from figa_core.config import PromptsConfig
from figa_core.errors import NothingToDoError
from figa_core.inference.exchange import in_shards
from figa_core.ports import ProgressCallback
from figa_core.prompts import BadRow, RowFormat, read_prompts, reason_kind
from figa_core.records import Prompt, Stage
from tasks.results import StageResult, no_progress
from tasks.workspace import Workspace

_BATCH_ROWS = 1000


def row_format(config: PromptsConfig) -> RowFormat:
    """Which fields of the file mean what."""
    return RowFormat(config.prompt_field, config.reference_field, config.system_prompt, config.held_out_share)


@task(name="import", task_run_name="import {config.path.name}", cache_policy=NO_CACHE)
def import_prompts(
    workspace: Workspace,
    run_id: str,
    config: PromptsConfig,
    model: Path,
    *,
    on_progress: ProgressCallback = no_progress,
) -> StageResult:
    """Read the file once, in batches. `model` is the model whose tokenizer measures the prompts.

    Raises:
        InputError: the file cannot be used at all.
        NothingToDoError: not one row of it can.
    """
    chat = load_chat_format(model)
    first_row: dict[str, int] = {}
    reasons: dict[str, int] = {}
    rows = 0
    for batch in in_shards(read_prompts(config.path, row_format(config), config.limit), _BATCH_ROWS):
        rows += len(batch)
        good: list[Prompt] = []
        bad: list[BadRow] = []
        for number, row in batch:
            if isinstance(row, Prompt) and row.prompt_id in first_row:
                bad.append(BadRow(number, f"duplicate of row {first_row[row.prompt_id]}"))
            elif isinstance(row, Prompt):
                first_row[row.prompt_id] = number
                tokens = len(chat.prompt_ids(row.messages))
                if tokens <= config.max_prompt_tokens:
                    good.append(row)
                else:
                    reason = (
                        f"{tokens} tokens, more than prompts.max_prompt_tokens = {config.max_prompt_tokens}"
                    )
                    bad.append(BadRow(number, reason))
            else:
                bad.append(row)
        workspace.store.import_prompts(run_id, good)
        workspace.store.save_bad_rows(run_id, bad)
        for row in bad:
            kind = reason_kind(row.reason)
            reasons[kind] = reasons.get(kind, 0) + 1
        on_progress(rows, rows)  # how many the file holds is only known at its end
    if rows == sum(reasons.values()):
        raise NothingToDoError(
            f"{config.path}: none of its {rows} rows can be used: {reasons}. Mend the file."
        )
    return StageResult(Stage.IMPORT, rows, rows - sum(reasons.values()), reasons)
