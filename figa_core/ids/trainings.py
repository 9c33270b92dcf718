"""Ids of shard sets and of the trainings on them."""

import json
from collections.abc import Iterable, Mapping, Sequence

from figa_core.ids.content import content_id, digest_of_lines


def shard_set_id(
    *,
    pairs: Iterable[str],
    tokenizer: str,
    template: str,
    scorer: str,
    scheme: str,
    max_length: int,
    best: Iterable[str] | None = None,
    scores: Iterable[str] | None = None,
    thoughts: str | None = None,
) -> str:
    """Recipe 2: the pairs' revision ids in order, tokenizer and template hashes, scorer, scheme, cut length.

    The scorer, because a pair is stored with its rewards, which may scale it. `best`: the response ids of the
    best samples, in a set that has them. `scores`: what an LLM gave the words of each pair, if the scheme
    needs that. `thoughts`: what is done with them, if they are not put back before the answers.
    """
    return content_id(
        "shards",
        2,
        pairs=digest_of_lines(pairs),
        **({} if best is None else {"best": digest_of_lines(best)}),
        **({} if scores is None else {"scores": digest_of_lines(scores)}),
        **({} if thoughts is None else {"thoughts": thoughts}),
        tokenizer=tokenizer,
        template=template,
        scorer=scorer,
        scheme=scheme,
        max_length=max_length,
    )


def training_id(
    *, model: str, shards: str, steps: int, settings: Mapping[str, object], smaller_last_steps: bool = False
) -> str:
    """Recipe 1: the model's fingerprint, the shard set, the steps, and the settings that change the result.

    ZeRO stage, ranks, micro-batch size and shared beginnings change it only by rounding, and by the random
    numbers of dropout, if there is any: these depend on ranks and micro-batches, and answers that share a
    beginning share those of it. So `training.prefix_sharing` is one of the settings where it is true in spite
    of dropout. `smaller_last_steps`: the last step of
    an epoch is smaller. Up to release 0.1 it was filled with pairs of the next epoch; those trainings have
    ids without the field.
    """
    changed = {"smaller_last_steps": True} if smaller_last_steps else {}
    return content_id("training", 1, model=model, shards=shards, steps=steps, **settings, **changed)


def prompts_digest(
    prompts: Iterable[str], tokenizer: str, template: str, variables: Mapping[str, object] | None = None
) -> str:
    """SHA-256 (hex) of prompt ids in order, and of what decides their token ids."""
    more = (json.dumps(dict(variables), sort_keys=True),) if variables else ()
    return digest_of_lines((*prompts, tokenizer, template, *more))


def rl_training_id(
    *, model: str, scorer: str, prompts: str, trainer: str, settings: Mapping[str, object]
) -> str:
    """Recipe 1: the model's fingerprint, the scorer, the prompts' digest, the trainer's release, and the
    settings that change the result.
    """
    return content_id(
        "rl-training",
        1,
        model=model,
        scorer=scorer,
        prompts=prompts,
        trainer=trainer,
        settings=dict(settings),
    )


def reference_log_probs_id(*, model: str, shards: str, answers: Sequence[str], top_tokens: int = 0) -> str:
    """Recipe 1: the model's fingerprint, the shard set, and the answers that were scored; the number of most
    likely tokens, if any are stored.
    """
    more = {"top_tokens": top_tokens} if top_tokens else {}
    return content_id("log-probs", 1, model=model, shards=shards, answers=list(answers), **more)


def sweep_id(
    *, model: str, shards: str, steps: int, rates: Sequence[float], settings: Mapping[str, object]
) -> str:
    """Recipe 1: the model's fingerprint, the shard set, the steps of each short training, the rates, and the
    training's settings that change a result, but for its learning rate.
    """
    return content_id("sweep", 1, model=model, shards=shards, steps=steps, rates=list(rates), **settings)
