"""One training by reinforcement learning, on the GPU pool: a part of `compare-methods`."""

from contextlib import nullcontext
from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.errors import ConfigError
from figa_core.findings import problems_text
from figa_core.processes import interruption
from figa_core.rl.job import RlJob
from figa_core.tracking.extras import missing
from flows.progress import current
from flows.run.parameters import absolute
from flows.run.story import showing_stage
from flows.server.elsewhere import started_by_worker
from flows.server.own_worker import check_own_worker
from flows.server.run_log import library_logs
from tasks.artifacts import Artifacts
from tasks.reinforcement import train_rl
from tasks.workspace import Workspace


def _run_name() -> str:
    return run_name_of(RlJob.read(Path(flow_run.parameters["job"])))


def run_name_of(job: RlJob) -> str:
    """Such as "support: train GRPO from llama-1b, 50,000 tokens, rate 1e-05, seed 0"."""
    return (
        f"{Workspace.of_training(job.output).directory.name}: train {job.of_method.label} from "
        f"{job.model.name}, {job.token_budget:,} tokens, rate {job.learning_rate:g}, seed {job.seed}"
    )


@flow(name="train-by-rewards", flow_run_name=_run_name, persist_result=False)
async def train_by_rewards(job: Path, artifacts: str | None = None) -> None:
    """Train a model on rewards of its own samples, by TRL.

    Args:
        job: File of the training, which `compare-methods` writes: WORKSPACE/trainings/ID/job.json. The result
            is written beside it.
        artifacts: URL of the workspace's store, if this machine does not share its disk.

    Raises:
        ConfigError: the path is not valid, or a tracker's library is not installed.
        TrainingError: there is no such file, TRL's environment is missing, a reward program on this machine
            is not the run's, or the training stopped.
        WorkspaceError: the workspace or its store cannot be read or written.
    """
    if started_by_worker():
        check_own_worker()
    job = absolute("job", job)
    workspace = Workspace.of_training(job.parent)
    workspace.check_writable()
    store = Artifacts.of(workspace, artifacts, lambda text: current().line(text))
    if store is not None:
        store.fetch_file(job)
    wanted = RlJob.read(job)
    if problems := missing(wanted.tracking.to):
        raise ConfigError(problems_text([f"tracking.to: {each}" for each in problems]))
    if store is not None:
        fetch_rl_inputs(store, wanted)
    title = f"train {wanted.of_method.label}"
    with library_logs(), interruption.doing(title), showing_stage(current(), title) as on_progress:
        log = workspace.training_log(wanted.objective, wanted.training_id)
        with nullcontext() if store is None else store.training(wanted.output):
            train_rl(wanted, log, on_progress=on_progress)


def send_rl_inputs(store: Artifacts, job: RlJob) -> None:
    """What a machine without the workspace's disk needs of it to train, besides the file of the job."""
    store.send_file(job.prompts)
    for model in (job.model, *(reward.model for reward in job.reward_models)):
        store.send_model(model)


def fetch_rl_inputs(store: Artifacts, job: RlJob) -> None:
    """What `send_rl_inputs` has sent."""
    store.fetch_file(job.prompts)
    for model in (job.model, *(reward.model for reward in job.reward_models)):
        store.fetch_model(model)
