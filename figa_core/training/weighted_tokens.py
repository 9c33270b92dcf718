"""How many tokens of a micro-batch have a weight, from the shards: so many rows the logits have."""

from figa_core.shards.manifest import read_manifest
from figa_core.training.batches import plan_step, step_pairs
from figa_core.training.data import PairData
from figa_core.training.job import TrainingJob
from figa_core.training.objectives.registry import make_objective
from figa_core.training.prefixes import GRAIN

_STEPS = 8
_BYTES_MAX = 200_000_000  # of a set that the run's own process reads


def most_weighted_tokens(job: TrainingJob) -> int | None:
    """The most of a micro-batch, in the plans of the first steps of an epoch.

    None where that is not known before the training: of large sets, of objectives that read more than the
    shards, and without any.
    """
    manifest, objective = read_manifest(job.shards), make_objective(job.loss)
    if manifest is None or objective.held_to_base or objective.chains or objective.reference_answers:
        return None
    if not manifest.pairs or sum(shard.size for shard in manifest.shards) > _BYTES_MAX:
        return None
    data, size = PairData(job.shards), job.pairs_per_step
    shares = job.levers.packing and job.training.prefix_sharing is not False
    most = 0
    for step in range(1, min(_STEPS, -(-len(data) // size)) + 1):
        pairs = step_pairs(step, pairs=len(data), pairs_per_step=size, seed=job.training.seed)
        for rank in range(job.training.ranks):
            plan = plan_step(
                data,
                pairs,
                objective,
                rank=rank,
                ranks=job.training.ranks,
                tokens_per_batch=job.training.tokens_per_batch,
                packing=job.levers.packing,
                tail_cut=job.levers.tail_cut,
                grain=GRAIN if shares else None,
            )
            most = max([most, *(len(batch.weights_K) for batch in plan.micro_batches)])
    return most
