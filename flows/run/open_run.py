"""Opens a run and records its end: the checks, the workspace's lease, and the run's row in `runs`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from figa_core.chat.thinking import thoughts_of
from figa_core.config import PipelineConfig, identity
from figa_core.config.roles import model_rewards
from figa_core.errors import InterruptedRunError, WorkspaceError, WorseModelError, signal_name
from figa_core.inference.elsewhere import Elsewhere, shared_disk
from figa_core.inference.engine import AUTO, Engine, Factory, Tell
from figa_core.inference.engines import Engines
from figa_core.inference.server.order import Listening
from figa_core.inference.server.ordered import OnPool
from figa_core.inference.vllm_python import vllm_version
from figa_core.models.fingerprint import model_fingerprint
from figa_core.processes import interruption
from figa_core.processes.children import end_leftovers
from figa_core.processes.lease import describe_holder, is_held, workspace_lease
from figa_core.prompts.files import prompts_fingerprint
from figa_core.records import Split
from figa_core.revision.prompt import PromptTemplates, load_templates
from figa_core.storage.database import Database
from figa_core.storage.runs import (
    FAILED,
    INTERRUPTED,
    WORSE_MODEL,
    Findings,
    end_run,
    save_findings,
    save_run,
)
from flows.checks.facts import say_nothing
from flows.checks.workspace import permit_network
from flows.preflight import check
from flows.progress import Progress
from flows.server.elsewhere import started_by_worker
from flows.server.own_worker import check_own_worker
from flows.server.run_log import library_logs
from flows.server.serving_runs import PrefectServingRuns
from flows.server.shard_runs import PrefectShardRuns
from tasks.artifacts import Artifacts
from tasks.chat_formats import generation_chat, thinking_line
from tasks.generate import Sampling, generator_id
from tasks.grading_settings import grader_template
from tasks.judge_settings import judge_templates, pairwise_template
from tasks.rewards import RunRewards, run_rewards
from tasks.server_settings import adapter_rank
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that holds its workspace.

    `sampling`: how the model to align is sampled. `rewards`: by which the stages go. `templates`: the
    reviser's instructions. `grader_template`: the grader's, if the weighting needs a grader. `warnings`: what
    stages want printed at the end of the run. `warned`: settings that the checks have warned about.
    """

    run_id: str
    workspace: Workspace
    sampling: Sampling
    generator: str
    rewards: RunRewards
    templates: PromptTemplates
    grader_template: str | None = None
    warnings: list[str] = field(default_factory=list)
    engines: Engines = field(default_factory=Engines)
    warned: frozenset[str] = frozenset()

    def warn(self, text: str) -> None:
        """Print this at the end of the run, once."""
        if text not in self.warnings:
            self.warnings.append(text)


@contextmanager
def open_run(
    config: PipelineConfig, flow_run: str, progress: Progress, *, reaches: str = "completed"
) -> Iterator[OpenRun]:
    """Check the config, take the workspace, and record the run and its end.

    The end is `reaches`, worse model, failed or interrupted.

    Raises:
        ConfigError: see `preflight.check`; nothing was started.
        WorkspaceBusyError, WorkspaceError: another run holds the workspace, or it cannot be used.
    """
    with visit_run(config, flow_run, progress, needs_key=True) as run:
        database = run.workspace.database
        save_run(database, run.run_id, config.workspace.name, config.model_dump(mode="json"), flow_run)
        templates = (run.templates.without_reference, run.templates.with_reference)
        found = Findings(
            run.generator,
            run.rewards.filter.scorer,
            templates,
            run.grader_template,
            training_scorer=run.rewards.training.scorer,
            judge_scorer=run.rewards.judge.scorer,
            reward_scorers={part.name: part.scorer for part in run.rewards.parts},
            judge_templates=judge_templates(config),
            pairwise_template=pairwise_template(config),
        )
        save_findings(database, run.run_id, found)
        try:
            yield run
        except WorseModelError as error:
            _end(run, WORSE_MODEL, [str(error), *run.warnings], progress)
            raise
        except BaseException as error:
            _record_end(database, run.run_id, error, progress)
            raise
        _end(run, reaches, run.warnings, progress)


def _end(run: OpenRun, status: str, messages: list[str], progress: Progress) -> None:
    end_run(run.workspace.database, run.run_id, status, "\n".join(messages) or None)
    for warning in run.warnings:
        progress.line(f"warning: {warning}")


def _record_end(database: Database, run_id: str, error: BaseException, progress: Progress) -> None:
    """Never raises: the run's error matters more, and the full disk that caused it may still be full."""
    try:
        if isinstance(error, Exception):
            end_run(database, run_id, FAILED, str(error) or type(error).__name__)
        else:
            end_run(database, run_id, INTERRUPTED, f"{_what_stopped(error)}: the same command continues")
    except WorkspaceError as unrecorded:
        progress.line(f"the end of the run could not be recorded: {unrecorded}")


def _what_stopped(error: BaseException) -> str:
    try:
        interruption.check()
    except InterruptedRunError as asked:
        error = asked
    number = getattr(error, "signal", None)  # Prefect's TerminationSignal, in a worker's run, has it too
    return f"stopped by {signal_name(number)}" if number else "stopped from outside"


@contextmanager
def visit_run(
    config: PipelineConfig, flow_run: str, progress: Progress, *, needs_key: bool = False
) -> Iterator[OpenRun]:
    """Check the config and take the workspace, such as to add to a stored run; records no end.

    `needs_key`: whether the reviser will be called. Raises: see `open_run`.
    """
    if started_by_worker():
        check_own_worker()
    # The command line has already made the checks and printed its lines.
    say = progress.line if started_by_worker() else say_nothing
    warnings = check(config, needs_key=needs_key, say=say)
    for found in warnings:
        progress.line(f"warning: {found}")
    directory, timeout_s = config.workspace.path, config.workspace.lease_timeout_s
    if timeout_s and is_held(directory):
        holder = describe_holder(directory)
        progress.line(f"waits up to {timeout_s:.0f} s for {directory}, which another run holds: {holder}")
    with (
        interruption.cancellable(),
        workspace_lease(directory, owner=flow_run, timeout_s=timeout_s),
        library_logs(),
        Engines(progress.line, _elsewhere(config, progress), _servers(config, progress)) as engines,
    ):
        for process in end_leftovers():
            progress.line(f"ended {process}, left over from an earlier run that was killed")
        named = [config.generation.engine, *(reward.engine for reward in model_rewards(config).values())]
        if config.generation.workers is None and AUTO in named and not vllm_version():
            progress.line("vLLM is not installed here: the transformers engine is used instead")
        if (thoughts := thoughts_of(generation_chat(config.generation))) is not None:
            progress.line(thinking_line(config.generation, thoughts))
        workspace = Workspace(directory)
        if config.storage.database_on_network:
            permit_network(directory)
        workspace.database.create()
        warned = frozenset(found.where for found in warnings)
        yield replace(identify(workspace, config), engines=engines, warned=warned)


def _elsewhere(config: PipelineConfig, progress: Progress) -> Elsewhere | None:
    """Where generation and scoring go; None for this process."""
    if config.generation.workers is None:
        return None
    workspace = Workspace(config.workspace.path)
    url = config.storage.artifacts
    store = Artifacts.of(workspace, url, progress.line)
    return Elsewhere(
        config.generation.workers,
        PrefectShardRuns(workspace.directory, progress.line, url),
        partial(model_fingerprint, cache=workspace.fingerprints),
        exchange=shared_disk if store is None else store.dealing,
    )


def _pool(config: PipelineConfig, progress: Progress) -> OnPool | None:
    """Where the run's own servers are started; None for this machine."""
    serving = config.generation.serving
    if not serving.pool:
        return None
    workspace = Workspace(config.workspace.path)
    return OnPool(
        PrefectServingRuns(workspace.directory, progress.line),
        partial(model_fingerprint, cache=workspace.fingerprints),
        Listening(serving.listen, serving.address, serving.port),
    )


def _servers(config: PipelineConfig, progress: Progress) -> Factory | None:
    """Opens the engine of the run's own servers; None if it has none."""
    if not config.generation.server.managed:
        return None

    def opened(tell: Tell) -> Engine:
        from figa_core.inference.server.engine import ServerEngine  # aiohttp, a third of a second to import

        return ServerEngine(tell, _pool(config, progress), adapter_rank(config))

    return opened


def identify(workspace: Workspace, config: PipelineConfig) -> OpenRun:
    """The run of a configuration (equal work, equal id); raises InputError if a file cannot be read."""
    generation, prompt = config.generation, config.revision_prompt
    templates = load_templates(prompt.with_reference, prompt.without_reference)
    sampling = Sampling(generation.model, Split.TRAIN, generation.temperature, generation.samples_per_prompt)
    generator = generator_id(workspace, generation, sampling)
    rewards = run_rewards(workspace, config, generator)
    for_grader = grader_template(config)
    run_id = identity.run_id(
        config,
        prompts=prompts_fingerprint(config.prompts.path),
        generator=generator,
        scorer=rewards.filter.scorer,
        training_scorer=rewards.training.scorer,
        judge_scorer=rewards.judge.scorer,
        templates=[templates.without_reference, templates.with_reference],
        grader_template=for_grader,
    )
    return OpenRun(run_id, workspace, sampling, generator, rewards, templates, for_grader)
