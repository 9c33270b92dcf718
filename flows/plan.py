"""`figa plan`: the calls to the reviser that a configuration needs, counted before anything is spent.

Once the run has applied its thresholds, the open rows are counted with their texts. Before that only the
prompts are known, and the plan is an upper bound: every response is kept and has the maximum length.
"""

import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from figa_core.config import PipelineConfig, PromptsConfig
from figa_core.config.roles import fields_of
from figa_core.errors import ConfigError, WorkspaceError
from figa_core.inference.exchange import in_shards
from figa_core.llm.limiter import CHARS_PER_TOKEN, estimate_tokens
from figa_core.ports import GradeRequest
from figa_core.prompts.read import read_prompts
from figa_core.records import Message, Prompt, Split
from figa_core.revision.prompt import PromptTemplates, expected_tokens, load_templates
from figa_core.storage import grades, revisions
from figa_core.storage.first_rows import FirstRows
from flows.plan_benchmarking import BenchmarkingPlan, benchmarking_lines, plan_benchmarking
from flows.plan_grading import GradingPlan, grading_lines, plan_grading
from flows.plan_judging import JudgingPlan, judging_lines, plan_judging
from flows.run.open_run import identify
from flows.terminal.durations import duration
from tasks.grading_settings import GradingSections
from tasks.import_prompts import row_format
from tasks.revision_settings import price_of
from tasks.train import steps_line
from tasks.workspace import Workspace

_PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """`exact`: counted from the run's open rows; otherwise an upper bound.

    Tokens are estimates of four characters each. Costs are in US dollars, None without a price. Without
    repeated attempts the cost cannot exceed `most_usd`, whatever the tokenizer and the answers' lengths.
    `updates`: what the training would make of all pairs that there can be, if there is something to say.
    """

    exact: bool
    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    most_usd: float | None
    spent_usd: float | None
    budget_usd: float | None
    minutes_by_requests: float
    minutes_by_tokens: float
    grading: GradingPlan | None = None
    judging: Sequence[JudgingPlan] = ()
    benchmarking: BenchmarkingPlan | None = None
    updates: str | None = None


_Row = tuple[tuple[str, ...], str]
"""One planned call: the texts to send, and a text of the draft's length."""


def make_plan(config: PipelineConfig) -> Plan:
    """Count the calls from the workspace, or from the prompts; raises FigaError if they cannot be read."""
    workspace = Workspace(config.workspace.path)
    spent, run_id = None, None
    if workspace.database.path.is_file():
        workspace.database.create()  # migrates a workspace of an older version
        run = identify(workspace, config)
        run_id, spent = run.run_id, revisions.spent(workspace.database, run.run_id).usd
        if statuses := revisions.statuses(workspace.database, run_id):
            rows = _open_rows(workspace, run_id, run.templates)
            pages = grades.iter_possible(workspace.database, run_id, _PAGE_ROWS)
            plan = _sum(config, rows, exact=True, spent_usd=spent)
            grading, pairs = _grading(config, chain.from_iterable(pages)), sum(statuses.values())
            return _with_the_rest(plan, config, workspace, run_id, grading, pairs)
    plan = _sum(config, _possible_rows(config), exact=False, spent_usd=spent)
    grading = _grading(config, _possible(config))
    return _with_the_rest(plan, config, workspace, run_id, grading, plan.calls)


def _with_the_rest(
    plan: Plan,
    config: PipelineConfig,
    workspace: Workspace,
    run_id: str | None,
    grading: GradingPlan | None,
    pairs: int,
) -> Plan:
    return replace(
        plan,
        grading=grading,
        judging=_judging(config),
        benchmarking=plan_benchmarking(config, workspace, run_id),
        updates=_updates(config, pairs),
    )


def plan_several(configs: Sequence[PipelineConfig]) -> Plan:
    """The calls for the open rows of runs that have applied their thresholds, each row once.

    What is spent and left is that of all of them together; prices, limits and budget are those of the first.
    """
    first, seen, runs = configs[0], set[str](), list[str]()
    workspace = Workspace(first.workspace.path)

    def rows() -> Iterator[_Row]:
        for config in configs:
            run = identify(workspace, config)
            runs.append(run.run_id)
            for page in revisions.iter_open(workspace.database, run.run_id, _PAGE_ROWS):
                new = [row for row in page if row.revision_id not in seen]
                seen.update(row.revision_id for row in new)
                yield from (_row(run.templates, each.messages, each.response, each.reference) for each in new)

    plan = _sum(first, rows(), exact=True, spent_usd=None)
    return replace(plan, spent_usd=revisions.spent(workspace.database, *runs).usd)


def check_budget(plan: Plan) -> None:
    """Raises ConfigError if the calls of a plan cost more than what is left of the budget."""
    if plan.usd is None or plan.budget_usd is None:
        return
    left = plan.budget_usd - (plan.spent_usd or 0.0)
    if plan.usd > left:
        raise ConfigError(
            f"spending.budget_usd: ${left:,.2f} of ${plan.budget_usd:,.2f} are left, and the calls cost "
            f"about ${plan.usd:,.2f}. Runs of which some rows stay open are not comparable: raise the budget."
        )


def _updates(config: PipelineConfig, pairs: int) -> str | None:
    return steps_line(config.training, pairs) if pairs else None


def _judging(config: PipelineConfig) -> list[JudgingPlan]:
    prompts = partial(_distinct, config.prompts, fields_of(config))
    return plan_judging(config, prompts, _longest(config))


def _grading(config: PipelineConfig, requests: Iterable[GradeRequest]) -> GradingPlan | None:
    sections = GradingSections.of(config)
    return None if sections is None else plan_grading(sections, requests)


def plan_lines(plan: Plan, model: str) -> Iterator[str]:
    """The plan as lines for people."""
    at_most = "" if plan.exact else "at most "
    source = "the open rows" if plan.exact else "the prompts; the thresholds will keep fewer"
    yield f"{at_most}{plan.calls:,} calls to {model}, counted from {source}"
    tokens = plan.prompt_tokens + plan.completion_tokens
    yield (
        f"{at_most}{tokens:,} tokens: {plan.prompt_tokens:,} of prompts, {plan.completion_tokens:,} of "
        "answers (estimated, four characters each)"
    )
    yield from _cost_lines(plan, at_most, model)
    minutes = max(plan.minutes_by_requests, plan.minutes_by_tokens)
    limit = "requests" if plan.minutes_by_requests >= plan.minutes_by_tokens else "tokens"
    yield f"{at_most}{duration(minutes)} at the configured limits (revision.{limit}_per_minute decides)"
    if plan.grading is not None:
        yield from grading_lines(plan.grading)
    for judging in plan.judging:
        yield from judging_lines(judging)
    if plan.benchmarking is not None:
        yield from benchmarking_lines(plan.benchmarking)
    if plan.updates is not None:
        yield f"training, if every pair is kept: {plan.updates}"


def _cost_lines(plan: Plan, at_most: str, model: str) -> Iterator[str]:
    if plan.usd is None or plan.most_usd is None:
        yield f'no price known: add [spending.prices."{model}"] to see the cost'
        return
    yield f"{at_most}about ${plan.usd:,.2f}; never more than ${plan.most_usd:,.2f} without repeated attempts"
    if plan.spent_usd:
        yield f"${plan.spent_usd:,.2f} is already spent"
    if plan.budget_usd is None:
        yield "no budget: set spending.budget_usd for a hard cap"
        return
    left = plan.budget_usd - (plan.spent_usd or 0.0)
    enough = "" if plan.usd <= left else ": not enough for all calls, so the rest will stay pending"
    yield f"${left:,.2f} is left of the budget of ${plan.budget_usd:,.2f}{enough}"


def _sum(config: PipelineConfig, rows: Iterator[_Row], *, exact: bool, spent_usd: float | None) -> Plan:
    revision, price = config.revision, price_of(config.spending, config.revision.model)
    calls = prompt_tokens = completion_tokens = 0
    usd = most_usd = 0.0
    for texts, draft in rows:
        prompt = estimate_tokens(texts, 0, 0)
        answer = min(revision.max_tokens, expected_tokens(draft))
        calls += 1
        prompt_tokens += prompt
        completion_tokens += answer
        if price is not None:
            usd += price.cost(prompt, answer)
            most_usd += price.most(texts, revision.max_tokens)
    return Plan(
        exact=exact,
        calls=calls,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        usd=None if price is None else usd,
        most_usd=None if price is None else most_usd,
        spent_usd=spent_usd,
        budget_usd=config.spending.budget_usd,
        minutes_by_requests=calls / revision.requests_per_minute,
        minutes_by_tokens=(prompt_tokens + completion_tokens) / revision.tokens_per_minute,
    )


def _open_rows(workspace: Workspace, run_id: str, templates: PromptTemplates) -> Iterator[_Row]:
    for row in chain.from_iterable(revisions.iter_open(workspace.database, run_id, _PAGE_ROWS)):
        yield _row(templates, row.messages, row.response, row.reference)


def _possible_rows(config: PipelineConfig) -> Iterator[_Row]:
    prompt = config.revision_prompt
    templates = load_templates(prompt.with_reference, prompt.without_reference)
    return (_row(templates, row.messages, row.response, row.reference) for row in _possible(config))


def _possible(config: PipelineConfig) -> Iterator[GradeRequest]:
    """The pairs that a run can have at most: responses of the greatest length, and revisions like them."""
    # Only the sample with the lowest reward is kept, unless all are.
    samples = config.generation.samples_per_prompt if config.filter.samples_kept == "all" else 1
    longest = _longest(config)
    for row in _distinct(config.prompts):
        if row.split is Split.TRAIN:
            possible = GradeRequest(row.prompt_id, row.messages, longest, longest, row.reference, ())
            for _ in range(samples):
                yield possible


def _longest(config: PipelineConfig) -> str:
    """A text of the length of the longest response."""
    characters = math.ceil(config.generation.max_tokens * CHARS_PER_TOKEN)
    return ("word " * math.ceil(characters / 5))[:characters]


def _distinct(prompts: PromptsConfig, more_fields: Sequence[str] = ()) -> Iterator[Prompt]:
    """Each prompt of the file once, as in the import; the prompts seen so far are kept on disk."""
    rows = read_prompts(prompts.path, row_format(prompts, more_fields), prompts.limit)
    with _scratch() as scratch, FirstRows(scratch) as seen:
        for page in in_shards(rows, _PAGE_ROWS):
            found = [(number, row) for number, row in page if isinstance(row, Prompt)]
            first = seen.look_up([(row.prompt_id, number) for number, row in found])
            yield from (row for number, row in found if first[row.prompt_id] == number)


@contextmanager
def _scratch() -> Iterator[Path]:
    try:
        made = tempfile.TemporaryDirectory(prefix="figa-plan-")
    except OSError as error:
        raise WorkspaceError(
            f"no directory for temporary files can be written: {error.strerror}. Free space, or set TMPDIR."
        ) from error
    with made as directory:
        yield Path(directory) / "seen"


def _row(
    templates: PromptTemplates, messages: tuple[Message, ...], response: str, reference: str | None
) -> _Row:
    sent = templates.render(messages, response, reference)
    return tuple(message["content"] for message in sent), response
