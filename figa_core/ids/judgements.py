"""Ids of what rates texts and models: rewards, their training, verifiers, judges, benchmarks."""

from collections.abc import Mapping, Sequence

from figa_core.ids.content import content_id


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


def combined_id(*, parts: Sequence[tuple[str, float]], responses: str) -> str:
    """Recipe 1: the scorers and their weights, and the responses whose values give each its scale."""
    return content_id(
        "combined", 1, parts=[[scorer, float(weight)] for scorer, weight in parts], responses=responses
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


def verifier_id(name: str, source: str) -> str:
    """Recipe 1: a verifier's "module:function" and the hash of its source file."""
    return content_id("verifier", 1, name=name, source=source)


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


def benchmark_id(*, model: str, harness: str, task: str, engine: str, settings: Mapping[str, object]) -> str:
    """Recipe 1: the model's fingerprint, lm-eval's release, the task's name there, the engine, and further
    settings that change a score and are not at their default.
    """
    return content_id(
        "benchmark", 1, model=model, harness=harness, task=task, engine=engine, settings=dict(settings)
    )
