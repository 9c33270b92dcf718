"""Content ids: equal work has equal ids, so that nothing paid or slow is done twice.

An id hashes an explicit list of named fields and a recipe version, never a whole config object: a new setting
with a default changes no id. `tests/figa_core/test_ids.py` pins every recipe. To change one on purpose, raise
its version.

Form: ``<kind>-s256-<32 hex digits>``; `s256` is the algorithm (SHA-256 over canonical JSON).
"""

from figa_core.ids.content import (
    content_id,
    file_fingerprint,
)
from figa_core.ids.judgements import (
    benchmark_id,
    combined_id,
    comparison_id,
    judge_id,
    judgement_id,
    preference_pair_id,
    preference_set_id,
    program_id,
    reward_form_id,
    reward_head_id,
    scorer_id,
    verifier_id,
)
from figa_core.ids.rows import (
    correction_id,
    generator_id,
    grade_id,
    prompt_id,
    reference_id,
    response_id,
    revision_id,
    run_id,
    sample_set_id,
)
from figa_core.ids.trainings import (
    prompts_digest,
    reference_log_probs_id,
    rl_training_id,
    shard_set_id,
    sweep_id,
    training_id,
)

__all__ = [
    "benchmark_id",
    "combined_id",
    "comparison_id",
    "content_id",
    "correction_id",
    "file_fingerprint",
    "generator_id",
    "grade_id",
    "judge_id",
    "judgement_id",
    "preference_pair_id",
    "preference_set_id",
    "program_id",
    "prompt_id",
    "prompts_digest",
    "reference_id",
    "reference_log_probs_id",
    "response_id",
    "revision_id",
    "reward_form_id",
    "reward_head_id",
    "rl_training_id",
    "run_id",
    "sample_set_id",
    "scorer_id",
    "shard_set_id",
    "sweep_id",
    "training_id",
    "verifier_id",
]
