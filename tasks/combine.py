"""Stage score, several rewards as one: the values of the parts → those of the combined reward."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core.errors import InputError, NothingToDoError
from figa_core.rewards.combination import Scale, terms_of
from figa_core.storage import combined
from figa_core.storage.scores import Source
from tasks.results import StageCounts
from tasks.rewards import Reward
from tasks.workspace import Workspace


@task(name="combine", task_run_name="combine rewards of {source.name}", cache_policy=NO_CACHE)
def combine(workspace: Workspace, reward: Reward, source: Source, *, sets_scale: bool = False) -> StageCounts:
    """Combine the parts' values for the texts of `source`; needs no value twice.

    `sets_scale`: the texts are the run's own responses, over which the parts' scales are taken, once.

    Raises:
        NothingToDoError: a part has a value for none of the run's responses.
        InputError: the scales are not known yet, or a part's values are too large for one.
    """
    database, names = workspace.database, {part.scorer: part.name for part in reward.parts}
    if sets_scale:
        scales = combined.fix_scales(database, source, reward.scorer, list(names))
    else:
        scales = combined.scales_of(database, reward.scorer)
    if not scales:
        raise InputError(
            "the rewards of this run have no common scale yet: its responses are not scored. Run `figa run` "
            "with its settings first."
        )
    if missing := sorted(names.keys() - {scale.part_id for scale in scales}):
        of = ", ".join(repr(names[scorer]) for scorer in missing)
        raise NothingToDoError(
            f"rewards: {of} has a value for none of the run's responses, so nothing can be combined with it. "
            "Correct it, or set its weight to 0."
        )
    if huge := [repr(names[scale.part_id]) for scale in scales if not scale.is_finite]:
        raise InputError(
            f"rewards: the values of {', '.join(huge)} are so large that they have no standard deviation, so "
            "they cannot be combined. Let it return smaller numbers, or set its weight to 0."
        )
    weights = {part.scorer: part.weight for part in reward.parts}
    found = combined.combine(database, source, reward.scorer, terms_of(scales, names, weights))
    waiting = {"waits for a judge": found.waiting} if found.waiting else {}
    rows = found.valued + sum(found.failed.values()) + found.waiting
    return StageCounts(rows, found.valued, {**found.failed, **waiting})


def flat_lines(reward: Reward, scales: list[Scale]) -> list[str]:
    """What is said of parts whose values for the run's responses do not differ."""
    names = {part.scorer: part.name for part in reward.parts}
    return [
        f"the reward {names[scale.part_id]!r} has the same value, {scale.mean:.4g}, for all {scale.n:,} "
        "responses that it rates: it tells none of them apart, and in the combined reward a difference of 1 "
        "to it counts as one standard deviation"
        for scale in scales
        if scale.is_flat
    ]
