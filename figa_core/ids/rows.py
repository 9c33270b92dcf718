"""Ids of a run and of its rows: prompts, references, responses, revisions, grades."""

from collections.abc import Mapping, Sequence

from figa_core.ids.content import content_id, told
from figa_core.records import Message


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


def prompt_id(messages: Sequence[Message]) -> str:
    """Recipe 1: the messages; of each its role and content, and its other fields if it has some."""
    return content_id("prompt", 1, messages=[told(message) for message in messages])


def reference_id(prompt: str, text: str) -> str:
    """Recipe 1: prompt id and text."""
    return content_id("reference", 1, prompt=prompt, text=text)


def sample_set_id(*, prompts: str, settings: Mapping[str, object], generator: str, samples: int) -> str:
    """Recipe 1: the prompts file's hash and how it is read, the generator, and the samples of a prompt."""
    return content_id(
        "samples", 1, prompts=prompts, settings=dict(settings), generator=generator, samples=samples
    )


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
        messages=[told(message) for message in messages],
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
