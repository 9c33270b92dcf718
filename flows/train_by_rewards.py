"""One training by reinforcement learning, on the GPU pool: a part of `compare-methods`."""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run

from figa_core.processes import interruption
from figa_core.rl.job import RlJob
from flows.progress import current
from flows.run.parameters import absolute
from flows.run.story import showing_stage
from flows.server.elsewhere import started_by_worker
from flows.server.run_log import library_logs
from flows.server.versions import check_version
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
async def train_by_rewards(job: Path) -> None:
    """Train a model on rewards of its own samples, by TRL.

    Args:
        job: File of the training, which `compare-methods` writes: WORKSPACE/trainings/ID/job.json. The result
            is written beside it.

    Raises:
        ConfigError: the path is not valid.
        TrainingError: there is no such file, TRL's environment is missing, or the training stopped.
        WorkspaceError: the workspace cannot be written.
    """
    if started_by_worker():
        check_version()
    wanted = RlJob.read(absolute("job", job))
    workspace = Workspace.of_training(wanted.output)
    workspace.check_writable()
    title = f"train {wanted.of_method.label}"
    with library_logs(), interruption.doing(title), showing_stage(current(), title) as on_progress:
        log = workspace.training_log(wanted.objective, wanted.training_id)
        train_rl(wanted, log, on_progress=on_progress)
