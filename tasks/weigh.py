"""Stage weigh: admitted pairs → Parquet shards of token ids and edit classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat import load_chat_format
from figa_core.config import WeightingConfig
from figa_core.errors import NothingToDoError
from figa_core.filtering import count_reasons
from figa_core.records import Decision, Stage, WeighedPair
from figa_core.storage.shards import read_manifest, write_shards
from figa_core.storage.store import AdmittedPair
from figa_core.weighting.schemes import scheme_named
from figa_core.weighting.weigh import PairTexts, weigh_pairs
from tasks.results import StageResult
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class WeighResult:
    """Where the shards are, and the stage's counts."""

    shard_set_id: str
    directory: Path
    result: StageResult


@task(name="weigh", cache_policy=NO_CACHE)
def weigh(
    workspace: Workspace, run_id: str, config: WeightingConfig, model: Path, scorer: str
) -> WeighResult:
    """Align every admitted pair once; a complete shard set with the same content is taken as it is.

    Raises:
        NothingToDoError: no pair has an edit within the maximum length.
    """
    store = workspace.store
    chat = load_chat_format(model)
    pair_ids = [pair.pair_id for page in store.iter_admitted_pairs(run_id, scorer) for pair in page]
    shard_set_id = ids.shard_set_id(
        pairs=pair_ids,
        tokenizer=chat.tokenizer_hash,
        template=chat.template_hash,
        scheme=config.scheme,
        max_length=config.max_length,
    )
    directory = workspace.shards(shard_set_id)
    manifest = read_manifest(directory)
    if manifest is not None:
        result = StageResult(Stage.WEIGH, len(pair_ids), manifest.pairs)
        return WeighResult(shard_set_id, directory, result)
    decisions: dict[str, Decision] = {}

    def weighed() -> Iterator[WeighedPair]:
        scheme = scheme_named(config.scheme)
        for page in store.iter_admitted_pairs(run_id, scorer):
            responses = {pair.pair_id: pair.response_id for pair in page}
            for outcome in weigh_pairs(
                chat, [_texts(pair) for pair in page], scheme=scheme, max_length=config.max_length
            ):
                if isinstance(outcome, WeighedPair):
                    decisions[responses[outcome.pair_id]] = Decision(True, "weighed")
                    yield outcome
                else:
                    decisions[responses[outcome.pair_id]] = Decision(False, outcome.reason)

    manifest = write_shards(
        directory,
        weighed(),
        shard_set_id=shard_set_id,
        tokenizer_hash=chat.tokenizer_hash,
        template_hash=chat.template_hash,
        scheme=config.scheme,
        max_length=config.max_length,
        pairs_per_shard=config.pairs_per_shard,
    )
    store.save_weighings(run_id, decisions)
    reasons = count_reasons(decisions)
    if manifest.pairs == 0:
        raise NothingToDoError(
            f"weigh: none of {len(pair_ids)} pairs can be trained on: {reasons}. Raise weighting.max_length."
        )
    return WeighResult(
        shard_set_id, directory, StageResult(Stage.WEIGH, len(pair_ids), manifest.pairs, reasons)
    )


def _texts(pair: AdmittedPair) -> PairTexts:
    return PairTexts(
        pair_id=pair.pair_id,
        messages=pair.messages,
        response_text=pair.response_text,
        response_finish=pair.response_finish,
        revision_text=pair.revision_text,
        reference_text=pair.reference_text,
        response_reward=pair.response_reward,
        revision_reward=pair.revision_reward,
    )
