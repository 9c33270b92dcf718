"""A shard set of equal pairs, for tests of what is done with shard sets."""

from dataclasses import replace
from pathlib import Path

from figa_core.records import WeighedPair
from figa_core.shards.write import write_shards

PAIR = WeighedPair(
    pair_id="pair",
    prompt_ids=(1,),
    response_ids=(2,),
    response_classes=(3,),
    revision_ids=(4,),
    revision_classes=(1,),
    reference_ids=(),
    response_reward=0.0,
    revision_reward=1.0,
)


def write_set(
    directory: Path, *, pairs: int = 100, pairs_per_shard: int = 3, with_reference: int = 0
) -> Path:
    """Write that many, the first ones `with_reference`; returns the directory."""
    write_shards(
        directory,
        [
            replace(PAIR, pair_id=f"pair-{number}", reference_ids=(7, 8) if number < with_reference else ())
            for number in range(pairs)
        ],
        shard_set_id="set",
        tokenizer_hash="tokenizer",
        template_hash="template",
        scheme="levenshtein",
        max_length=64,
        pairs_per_shard=pairs_per_shard,
    )
    return directory
