"""What a flow tells the Prefect server for automations to act on."""

from prefect.events import emit_event

from figa_core.config import PipelineConfig
from flows.run.open_run import OpenRun
from flows.server.names import DATASET_BUILT
from tasks.weigh import WeighResult


def dataset_built(run: OpenRun, config: PipelineConfig, weighed: WeighResult) -> None:
    """Say that a shard set is ready, with all that `train-model` needs to train on it."""
    emit_event(
        DATASET_BUILT,
        resource={
            "prefect.resource.id": f"figa.dataset.{weighed.shard_set_id}",
            "prefect.resource.name": f"{config.workspace.name}: {weighed.counts.n_out:,} pairs",
        },
        payload={
            "run_id": run.run_id,
            "pairs": weighed.counts.n_out,
            "shards": str(weighed.directory),
            "model": str(config.generation.model),
            "loss": config.loss.model_dump(mode="json"),
            "training": config.training.model_dump(mode="json"),
        },
    )
