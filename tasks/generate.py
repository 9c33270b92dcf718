"""Stage generate: prompts without a response of this generator → responses."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat import ChatFormat, load_chat_format
from figa_core.config import GenerationConfig
from figa_core.fingerprint import model_fingerprint
from figa_core.ports import Generation, GenerationRequest
from figa_core.records import Response, Split, Stage
from figa_core.storage.store import Sample
from tasks.engines import make_generator
from tasks.results import StageResult
from tasks.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which model draws how many samples of which prompts, and at which temperature."""

    model: Path
    split: Split
    temperature: float
    samples: int
    max_prompts: int | None = None


def generator_id(workspace: Workspace, config: GenerationConfig, sampling: Sampling) -> str:
    """The id under which this model's samples at these settings are stored."""
    return ids.generator_id(
        fingerprint=model_fingerprint(sampling.model, workspace.fingerprints),
        temperature=sampling.temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        seed=config.seed,
        template=load_chat_format(sampling.model).template_hash,
    )


@task(name="generate", cache_policy=NO_CACHE)
def generate(
    workspace: Workspace, run_id: str, config: GenerationConfig, sampling: Sampling, max_prompt_tokens: int
) -> StageResult:
    """Draw what is missing and store each shard as it comes; nothing is started when nothing is missing."""
    store = workspace.store
    generator = generator_id(workspace, config, sampling)
    pages = store.iter_missing_samples(
        run_id, generator, sampling.split, sampling.samples, sampling.max_prompts
    )
    first = next(pages, None)
    if first is None:
        return StageResult(Stage.GENERATE, 0, 0)
    chat = load_chat_format(sampling.model)
    engine = make_generator(
        config,
        sampling.model,
        temperature=sampling.temperature,
        stop_token_ids=chat.stop_token_ids,
        max_prompt_tokens=max_prompt_tokens,
        scratch=workspace.scratch("generate"),
    )
    asked: dict[str, Sample] = {}
    drawn = 0
    for batch in engine.generate(_requests(chat, first, pages, generator, config.seed, asked)):
        responses = [_response(chat, asked.pop(g.request_id), g) for g in batch]
        drawn += store.save_responses(generator, responses)
    return StageResult(Stage.GENERATE, drawn + len(asked), drawn)


def _requests(
    chat: ChatFormat,
    first: list[Sample],
    pages: Iterator[list[Sample]],
    generator: str,
    seed: int,
    asked: dict[str, Sample],
) -> Iterator[GenerationRequest]:
    page: list[Sample] | None = first
    while page is not None:
        prompts = chat.prompt_ids_batch([sample.messages for sample in page])
        for sample, prompt_ids in zip(page, prompts, strict=True):
            request_id = ids.response_id(sample.prompt_id, generator, sample.sample_index)
            asked[request_id] = sample
            yield GenerationRequest(request_id, prompt_ids, _seed_of(request_id, seed))
        page = next(pages, None)


def _seed_of(request_id: str, seed: int) -> int:
    # Every row has its own seed, taken from its id: a row's sample does not depend on its company.
    return (int(request_id[-7:], 16) + seed) % 2**31


def _response(chat: ChatFormat, sample: Sample, generation: Generation) -> Response:
    return Response(
        response_id=generation.request_id,
        prompt_id=sample.prompt_id,
        sample_index=sample.sample_index,
        text=chat.decode(generation.token_ids),
        token_ids=generation.token_ids,
        finish_reason=generation.finish_reason,
    )
