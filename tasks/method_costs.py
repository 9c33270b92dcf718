"""What the methods of `figa compare` cost: their trainings, their data, and passes of the base model."""

from functools import cache
from pathlib import Path

from figa_core.config import MethodConfig, PipelineConfig
from figa_core.config.roles import model_rewards
from figa_core.evaluation.cost import Cost, forward_flops, training_flops
from figa_core.models.adapter import underlying
from figa_core.models.weight_files import read_weights
from figa_core.records import Split
from figa_core.rl.job import RlJob
from figa_core.rl.methods import is_rl
from figa_core.shards.sizes import ShardSizes
from figa_core.storage import responses, revisions
from figa_core.storage.responses import Samples
from figa_core.training.metrics import read_metrics
from figa_core.training.objectives.registry import make_objective
from tasks.compare import Planned, manifest_of
from tasks.reinforcement import rl_cost
from tasks.workspace import Workspace


@cache
def parameters_of(model: Path) -> int:
    """The number of a model's parameters, from the headers of its weights."""
    return read_weights(underlying(model)).parameters


def training_cost(planned: Planned) -> Cost:
    """What one training took so far."""
    job, manifest = planned.job, manifest_of(planned.job.output)
    if isinstance(job, RlJob):
        return rl_cost(job, manifest, parameters_of)
    steps = read_metrics(job.metrics_path)
    tokens = sum(step.tokens for step in steps)
    return Cost(
        tokens=tokens,
        flops=training_flops(parameters_of(job.model), tokens, frozen=job.training.lora.rank is not None),
        seconds=sum(step.seconds for step in steps) if manifest is None else manifest.wall_seconds,
        peak_bytes=0 if manifest is None else manifest.peak_rss_bytes,
    )


def pass_cost(method: MethodConfig, config: PipelineConfig, sizes: ShardSizes) -> Cost:
    """The base model's pass over the answers of the whole set that the method needs it for, if any."""
    if is_rl(method.objective):
        return Cost()
    read = make_objective(method.loss(config.loss)).reference_answers
    if not read:
        return Cost()
    tokens = sum(sizes.tokens[answer] for answer in read)
    return Cost(tokens=tokens, flops=forward_flops(parameters_of(config.generation.model), tokens))


def data_cost(
    workspace: Workspace, run_id: str, generator: str, config: PipelineConfig, sizes: ShardSizes
) -> Cost:
    """What the run's pairs cost: drawing and scoring the responses, and the reviser's calls.

    Prompts without a pair count with the mean prompt of the pairs.
    """
    drawn, tokens = responses.tokens_drawn(workspace.database, Samples(run_id, generator, Split.TRAIN))
    tokens += drawn * sizes.prompt_tokens / max(sizes.pairs, 1)
    scored = tokens + sizes.tokens["revision"] + sizes.tokens["reference"]
    flops = forward_flops(parameters_of(config.generation.model), tokens)
    for reward in model_rewards(config).values():
        flops += forward_flops(parameters_of(reward.model), scored)
    return Cost(tokens=tokens, flops=flops, usd=revisions.spent(workspace.database, run_id).usd)


def share_of(cost: Cost, method: MethodConfig, config: PipelineConfig, share: float) -> Cost:
    """The part of the data's cost that a method needs: none if it reads references only, or no pairs."""
    if is_rl(method.objective):
        return Cost()
    answers = make_objective(method.loss(config.loss)).answers
    if set(answers) <= {"reference"}:
        return Cost()
    usd = None if cost.usd is None else cost.usd * share
    return Cost(cost.tokens * share, cost.flops * share, usd=usd)
