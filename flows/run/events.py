"""What a flow tells the Prefect server for automations to act on."""

from prefect.events import emit_event

from figa_core.config import PipelineConfig
from figa_core.training.job import training_spec
from flows.run.open_run import OpenRun
from flows.server.names import DATASET_BUILT
from tasks.weigh import WeighResult


def dataset_built(run: OpenRun, config: PipelineConfig, weighed: WeighResult) -> None:
    """Say that a shard set is ready, with all that `train-model` needs to train on it."""
    spec = training_spec(config, weighed.directory, config.loss.objective)
    emit_event(
        DATASET_BUILT,
        resource={
            "prefect.resource.id": f"figa.dataset.{weighed.shard_set_id}",
            "prefect.resource.name": f"{config.workspace.name}: {weighed.counts.n_out:,} pairs",
        },
        payload={
            "run_id": run.run_id,
            "pairs": weighed.counts.n_out,
            **spec.parameters(),
        },
    )
