"""Stage import: a file of prompts → prompts, references and bad rows of this run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.chat.format import ChatFormat
from figa_core.chat.roles import TemplateRoles
from figa_core.config import GenerationConfig, PromptsConfig, RewardConfig
from figa_core.errors import InputError, NothingToDoError
from figa_core.inference.exchange import in_shards
from figa_core.ports import ProgressCallback
from figa_core.prompts.read import BadRow, RowFormat, read_prompts, reason_kind
from figa_core.records import Prompt
from figa_core.row_failures import too_many
from figa_core.storage import prompts
from figa_core.storage.first_rows import FirstRows
from tasks.chat_formats import generation_chat
from tasks.results import StageCounts, no_progress
from tasks.reward_models import reward_chat
from tasks.workspace import Workspace

_BATCH_ROWS = 1000
_ROWS_NAMED = 5
_REWARD_REFUSES = "the reward model's chat template"


def row_format(config: PromptsConfig, more_fields: Sequence[str] = ()) -> RowFormat:
    """Which field of the file means what; `more_fields` are kept for rewards."""
    return RowFormat(
        config.prompt_field,
        config.reference_field,
        config.system_prompt,
        config.held_out_share,
        config.type_field,
        tuple(more_fields),
    )


@task(name="import", task_run_name="import {config.path.name}", cache_policy=NO_CACHE)
def import_prompts(
    workspace: Workspace,
    run_id: str,
    config: PromptsConfig,
    generation: GenerationConfig,
    *rewards: RewardConfig,
    more_fields: Sequence[str] = (),
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Read the file once, in batches. The tokenizer of the model to align measures the prompts.

    A row that its chat template refuses or prints in part is bad, and so is one that the template of a reward
    model refuses: found here, it costs no generation. `more_fields` of the rows are kept for rewards.

    Raises:
        InputError: the file cannot be used at all, or the reward model's template refuses many rows.
        NothingToDoError: no row of it can be used.
    """
    check = PromptCheck(generation_chat(generation), [reward_chat(each) for each in rewards], config)
    database = workspace.database
    reasons: Counter[str] = Counter()
    refused: list[BadRow] = []
    rows = by_reward = 0
    prompts.forget_bad_rows(database, run_id)
    with FirstRows(workspace.scratch("import")) as first_rows:
        for batch in in_shards(
            read_prompts(config.path, row_format(config, more_fields), config.limit), _BATCH_ROWS
        ):
            good, bad, out = check.sort_out(batch, first_rows)
            prompts.save_prompts(database, run_id, good)
            prompts.save_bad_rows(database, run_id, bad)
            prompts.take_out(database, run_id, out)
            reasons.update(reason_kind(row.reason) for row in bad)
            refusals = [row for row in bad if row.reason.startswith(_REWARD_REFUSES)]
            by_reward += len(refusals)
            refused += refusals[: _ROWS_NAMED - len(refused)]
            rows += len(batch)
            on_progress(rows, rows)  # the total is only known at the end of the file
        if prompts.count_prompts(database, run_id) > rows - reasons.total():
            prompts.keep_only(database, run_id, first_rows.prompt_ids())
    usable = rows - reasons.total()
    if too_many(by_reward, usable + by_reward):
        raise _refused_by_reward([each.model for each in rewards], refused, by_reward, usable + by_reward)
    if not usable:
        raise _nothing_usable(config.path, rows, reasons)
    return StageCounts(rows, usable, dict(reasons.most_common()))


def _nothing_usable(path: Path, rows: int, reasons: Counter[str]) -> NothingToDoError:
    if not rows:
        return NothingToDoError(f"{path}: the file has no rows. Set prompts.path to the right file.")
    why = "; ".join(f"{count:,} × {reason}" for reason, count in reasons.most_common())
    return NothingToDoError(
        f"{path}: none of its {rows:,} rows can be used: {why}. Fix the file, or [prompts]."
    )


def _refused_by_reward(models: Sequence[Path], some: Sequence[BadRow], refused: int, rows: int) -> InputError:
    numbers = ", ".join(str(row.row) for row in some) + (" …" if refused > len(some) else "")
    why = some[0].reason.partition(": ")[2]
    named = " or ".join(map(str, models))
    return InputError(
        f"reward.model = {named}: its chat template refuses {refused:,} of {rows:,} prompts (rows "
        f"{numbers}): {why}. Use a reward model that accepts such conversations, or remove these rows from "
        "the file."
    )


class PromptCheck:
    """Checks each prompt before it is imported; also used by the checks before a run."""

    def __init__(self, chat: ChatFormat, rewards: Sequence[ChatFormat], config: PromptsConfig) -> None:
        self._chat, self._roles = chat, TemplateRoles(chat)
        self._rewards = [TemplateRoles(reward) for reward in rewards]
        self._max_tokens = config.max_prompt_tokens

    def sort_out(
        self, batch: Sequence[tuple[int, Prompt | BadRow]], first_rows: FirstRows
    ) -> tuple[list[Prompt], list[BadRow], list[str]]:
        """Prompts to import, bad rows, and their prompt ids, which an earlier import may have stored."""
        read = [(number, row) for number, row in batch if isinstance(row, Prompt)]
        first = first_rows.look_up([(prompt.prompt_id, number) for number, prompt in read])
        new = [(number, prompt) for number, prompt in read if first[prompt.prompt_id] == number]
        outcomes = self._chat.prompt_ids_or_reasons([prompt.messages for _, prompt in new])
        problems = {
            number: self.problem(prompt, outcome)
            for (number, prompt), outcome in zip(new, outcomes, strict=True)
        }
        good: list[Prompt] = []
        bad: list[BadRow] = []
        out: list[str] = []
        for number, row in batch:
            if isinstance(row, BadRow):
                bad.append(row)
            elif number not in problems:
                bad.append(BadRow(number, f"duplicate of row {first[row.prompt_id]}"))
            elif (problem := problems[number]) is not None:
                bad.append(BadRow(number, problem))
                out.append(row.prompt_id)
            else:
                good.append(row)
        return good, bad, out

    def problem(self, prompt: Prompt, outcome: tuple[int, ...] | str) -> str | None:
        """Why a prompt cannot be used, or None; `outcome` is its token ids or why it has none."""
        if isinstance(outcome, str):
            return outcome
        left_out = self._roles.left_out(prompt.messages)
        if left_out is not None:
            return f"the chat template leaves out {left_out}"
        if not outcome:
            return "the chat template makes no token of it"
        if len(outcome) > self._max_tokens:
            return f"{len(outcome)} tokens, more than prompts.max_prompt_tokens = {self._max_tokens}"
        refusals = (roles.refusal(prompt.messages, answered=True) for roles in self._rewards)
        refusal = next(filter(None, refusals), None)
        return refusal.replace("the chat template", _REWARD_REFUSES, 1) if refusal else None
