"""Content ids: equal work has equal ids, so that nothing paid or slow is done twice.

An id hashes an explicit list of named fields and a recipe version, never a whole config object: a new setting
with a default changes no id. `tests/figa_core/test_ids.py` pins every recipe. To change one on purpose, raise
its version.

Form: ``<kind>-s256-<32 hex digits>``; `s256` is the algorithm (SHA-256 over canonical JSON).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from figa_core.files import open_regular
from figa_core.records import Message


def content_id(kind: str, recipe: int, **fields: object) -> str:
    """Hash named fields into ``<kind>-s256-<hex>``; values must be JSON-serialisable and finite."""
    body = json.dumps(
        {"kind": kind, "recipe": recipe, "fields": fields},
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    return f"{kind}-s256-{hashlib.sha256(body.encode()).hexdigest()[:32]}"


def prompt_id(messages: Sequence[Message]) -> str:
    """Recipe 1: the messages; of each its role and content, and its other fields if it has some."""
    return content_id("prompt", 1, messages=[_told(message) for message in messages])


def _told(message: Message) -> list[str]:
    return [message.role, message.content, *([message.more] if message.more else [])]


def reference_id(prompt: str, text: str) -> str:
    """Recipe 1: prompt id and text."""
    return content_id("reference", 1, prompt=prompt, text=text)


def generator_id(
    *,
    fingerprint: str,
    temperature: float,
    top_p: float,
    max_tokens: int,
    seed: int,
    template: str,
    variables: Mapping[str, object] | None = None,
    sampling: Mapping[str, object] | None = None,
) -> str:
    """Recipe 1: the model's fingerprint, sampling settings, seed and chat template hash.

    The template's `variables`, if it gets some, and further settings of `sampling` that are not at their
    defaults.
    """
    return content_id(
        "generator",
        1,
        fingerprint=fingerprint,
        temperature=float(temperature),
        top_p=float(top_p),
        max_tokens=max_tokens,
        seed=seed,
        template=template,
        **({"variables": dict(variables)} if variables else {}),
        **({"sampling": dict(sampling)} if sampling else {}),
    )


def response_id(prompt: str, generator: str, sample_index: int) -> str:
    """Recipe 1: prompt id, generator id, sample index."""
    return content_id("response", 1, prompt=prompt, generator=generator, sample_index=sample_index)


def scorer_id(
    fingerprint: str, max_length: int, *, label: int | None = None, template: str | None = None
) -> str:
    """Recipe 1: the reward model's fingerprint and the length at which its inputs are cut; of a model with
    several labels the one that is the reward, and the chat template if it is not the model's own.
    """
    more = {name: value for name, value in (("label", label), ("template", template)) if value is not None}
    return content_id("scorer", 1, fingerprint=fingerprint, max_length=max_length, **more)


def reward_form_id(fingerprint: str, *, label: int | None, template: str | None) -> str:
    """Recipe 1: the reward model's fingerprint, its label and chat template as in `scorer_id`."""
    return content_id("reward", 1, fingerprint=fingerprint, label=label, template=template)


def program_id(*, name: str, source: str, fields: Sequence[str], rows: str | None) -> str:
    """Recipe 1: a program's "module:function", the hash of its source, and what it gets of a row.

    `rows` identifies the prompts' rows, if it gets fields of them: another value of one is another reward.
    """
    return content_id("program", 1, name=name, source=source, fields=list(fields), rows=rows)


def judge_id(
    *,
    model: str,
    template: str,
    rubric: str | None,
    highest_score: int,
    temperature: float | None,
    max_tokens: int,
    fields: Sequence[str],
    rows: str | None,
) -> str:
    """Recipe 1: all that a judge is asked, but for the answer; `rows` as in `program_id`."""
    return content_id(
        "judge",
        1,
        model=model,
        template=template,
        rubric=rubric,
        highest_score=highest_score,
        temperature=None if temperature is None else float(temperature),
        max_tokens=max_tokens,
        fields=list(fields),
        rows=rows,
    )


def judgement_id(
    *,
    messages: Sequence[Mapping[str, str]],
    highest_score: int,
    model: str,
    temperature: float | None,
    max_tokens: int,
) -> str:
    """Recipe 1: the whole question, as it is sent to a judge, and of which model. Never limits or prices."""
    return content_id(
        "judgement",
        1,
        messages=[[m["role"], m["content"]] for m in messages],
        highest_score=highest_score,
        model=model,
        temperature=None if temperature is None else float(temperature),
        max_tokens=max_tokens,
    )


def preference_pair_id(chosen: str, rejected: str) -> str:
    """Recipe 1: the ids of the two answers; the better one first."""
    return content_id("preference", 1, chosen=chosen, rejected=rejected)


def preference_set_id(pairs: Sequence[str]) -> str:
    """Recipe 1: the ids of the pairs, in their order."""
    return content_id("preferences", 1, pairs=list(pairs))


def reward_head_id(
    *,
    start: str,
    pairs: str,
    share: float,
    noise: float,
    steps: int,
    max_length: int,
    learning_rate: float | None,
) -> str:
    """Recipe 1: the fingerprint of the model it starts from, the set of pairs, and what of it is used."""
    return content_id(
        "reward-head",
        1,
        start=start,
        pairs=pairs,
        share=float(share),
        noise=float(noise),
        steps=steps,
        max_length=max_length,
        learning_rate=learning_rate,
    )


def comparison_id(
    *,
    model: str,
    template: str,
    rubric: str | None,
    temperature: float | None,
    max_tokens: int,
    generators: tuple[str, str],
) -> str:
    """Recipe 1: all that a judge of two answers is asked, and whose answers they are, in this order."""
    return content_id(
        "comparison",
        1,
        model=model,
        template=template,
        rubric=rubric,
        temperature=None if temperature is None else float(temperature),
        max_tokens=max_tokens,
        generators=list(generators),
    )


def benchmark_id(*, model: str, harness: str, task: str, engine: str, settings: Mapping[str, object]) -> str:
    """Recipe 1: the model's fingerprint, lm-eval's release, the task's name there, the engine, and further
    settings that change a score and are not at their default.
    """
    return content_id(
        "benchmark", 1, model=model, harness=harness, task=task, engine=engine, settings=dict(settings)
    )


def combined_id(*, parts: Sequence[tuple[str, float]], responses: str) -> str:
    """Recipe 1: the scorers and their weights, and the responses whose values give each its scale."""
    return content_id(
        "combined", 1, parts=[[scorer, float(weight)] for scorer, weight in parts], responses=responses
    )


def sample_set_id(*, prompts: str, settings: Mapping[str, object], generator: str, samples: int) -> str:
    """Recipe 1: the prompts file's hash and how it is read, the generator, and the samples of a prompt."""
    return content_id(
        "samples", 1, prompts=prompts, settings=dict(settings), generator=generator, samples=samples
    )


def verifier_id(name: str, source: str) -> str:
    """Recipe 1: a verifier's "module:function" and the hash of its source file."""
    return content_id("verifier", 1, name=name, source=source)


def run_id(
    *,
    prompts: str,
    generator: str,
    scorer: str,
    reviser: Mapping[str, object],
    settings: Mapping[str, object],
) -> str:
    """Recipe 1: the prompts file's hash, generator, scorer, what decides a revision, and the settings that
    decide which rows are kept, how they are trained on and how the models are judged.

    Another learning rate is another run on the same stored responses and revisions.
    """
    return content_id(
        "run",
        1,
        prompts=prompts,
        generator=generator,
        scorer=scorer,
        reviser=dict(reviser),
        settings=dict(settings),
    )


def revision_id(
    *,
    response: str,
    reference: str | None,
    template: str,
    model: str,
    temperature: float | None,
    max_tokens: int,
    settings: Mapping[str, object] | None = None,
) -> str:
    """Recipe 1: response, reference, template text, model, decoding. Never limits, endpoints or prices.

    `temperature` None sends none. `settings` decide how answers are judged, and are not at their default.
    """
    return content_id(
        "revision",
        1,
        response=response,
        reference=reference,
        template=template,
        model=model,
        temperature=None if temperature is None else float(temperature),
        max_tokens=max_tokens,
        **({"settings": dict(settings)} if settings else {}),
    )


def correction_id(*, corrected: str, text: str, author: str) -> str:
    """Recipe 1: the revision that a person corrected, the person's text, and the person."""
    return content_id("correction", 1, corrected=corrected, text=text, author=author)


def grade_id(
    *,
    messages: Sequence[Message],
    response: str,
    revision: str,
    reference: str | None,
    words: Sequence[tuple[int, int]],
    scheme: str,
    template: str,
    model: str,
    temperature: float | None,
    max_tokens: int,
) -> str:
    """Recipe 1: all that the grader is asked, and of which model. Never limits, endpoints or prices."""
    return content_id(
        "grade",
        1,
        messages=[_told(message) for message in messages],
        response=response,
        revision=revision,
        reference=reference,
        words=[list(word) for word in words],
        scheme=scheme,
        template=template,
        model=model,
        temperature=None if temperature is None else float(temperature),
        max_tokens=max_tokens,
    )


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
        pairs=_digest_of_lines(pairs),
        **({} if best is None else {"best": _digest_of_lines(best)}),
        **({} if scores is None else {"scores": _digest_of_lines(scores)}),
        **({} if thoughts is None else {"thoughts": thoughts}),
        tokenizer=tokenizer,
        template=template,
        scorer=scorer,
        scheme=scheme,
        max_length=max_length,
    )


def _digest_of_lines(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for index, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if index else line.encode())
    return digest.hexdigest()


def training_id(
    *, model: str, shards: str, steps: int, settings: Mapping[str, object], smaller_last_steps: bool = False
) -> str:
    """Recipe 1: the model's fingerprint, the shard set, the steps, and the settings that change the result.

    ZeRO stage, ranks and micro-batch size change it only by rounding. `smaller_last_steps`: the last step of
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
    return _digest_of_lines((*prompts, tokenizer, template, *more))


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


def file_fingerprint(path: Path) -> str:
    """SHA-256 of one file's bytes, streamed."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
