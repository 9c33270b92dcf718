"""Stage import: a file of prompts → prompts, references and bad rows of this run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.chat import ChatFormat, load_chat_format
from figa_core.config import PromptsConfig
from figa_core.errors import NothingToDoError
from figa_core.inference.exchange import in_shards
from figa_core.ports import ProgressCallback
from figa_core.prompts import BadRow, RowFormat, read_prompts, reason_kind
from figa_core.records import Prompt, Stage
from figa_core.storage.first_rows import FirstRows
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
    reasons: Counter[str] = Counter()
    rows = 0
    with FirstRows(workspace.scratch("import")) as first_rows:
        for batch in in_shards(read_prompts(config.path, row_format(config), config.limit), _BATCH_ROWS):
            good, bad = _sort_out(batch, first_rows, chat, config.max_prompt_tokens)
            workspace.store.import_prompts(run_id, good)
            workspace.store.save_bad_rows(run_id, bad)
            reasons.update(reason_kind(row.reason) for row in bad)
            rows += len(batch)
            on_progress(rows, rows)  # how many the file holds is only known at its end
    if rows == reasons.total():
        raise NothingToDoError(
            f"{config.path}: none of its {rows} rows can be used: {dict(reasons)}. Mend the file."
        )
    return StageResult(Stage.IMPORT, rows, rows - reasons.total(), dict(reasons))


def _sort_out(
    batch: Sequence[tuple[int, Prompt | BadRow]], first_rows: FirstRows, chat: ChatFormat, max_tokens: int
) -> tuple[list[Prompt], list[BadRow]]:
    """Prompts to import, and rows that cannot be used, such as prompts that stood in the file before."""
    prompts = [(number, row) for number, row in batch if isinstance(row, Prompt)]
    first = first_rows.look_up([(prompt.prompt_id, number) for number, prompt in prompts])
    new = {number: prompt for number, prompt in prompts if first[prompt.prompt_id] == number}
    tokens = zip(new, chat.prompt_ids_batch([prompt.messages for prompt in new.values()]), strict=True)
    lengths = {number: len(token_ids) for number, token_ids in tokens}
    good: list[Prompt] = []
    bad: list[BadRow] = []
    for number, row in batch:
        if isinstance(row, BadRow):
            bad.append(row)
        elif number not in new:
            bad.append(BadRow(number, f"duplicate of row {first[row.prompt_id]}"))
        elif lengths[number] > max_tokens:
            long = f"{lengths[number]} tokens, more than prompts.max_prompt_tokens = {max_tokens}"
            bad.append(BadRow(number, long))
        else:
            good.append(row)
    return good, bad
