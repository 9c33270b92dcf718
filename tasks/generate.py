"""Stage generate: prompts without a response of this generator → responses."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat.format import ChatFormat, load_chat_format
from figa_core.chat.stops import before_stop
from figa_core.chat.thinking import Parts, Thoughts, thoughts_of
from figa_core.config import GenerationConfig
from figa_core.config.decisions import settings_in
from figa_core.errors import EngineError
from figa_core.inference.choice import Work
from figa_core.inference.engine import SERVER, Generating
from figa_core.inference.engines import Engines
from figa_core.models.fingerprint import model_fingerprint
from figa_core.ports import Generation, GenerationRequest, ProgressCallback, RowFailure
from figa_core.records import FinishReason, Response, Split
from figa_core.storage import responses
from figa_core.storage.responses import Sample, Samples
from tasks.chat_formats import generation_chat, template_variables
from tasks.engines import sampled_length
from tasks.results import StageCounts, no_progress
from tasks.row_failures import Failures
from tasks.server_settings import copies_of, generating_engine, loads_adapter, servers_of
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

_SEPARATOR = "#"


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which model draws how many samples for which prompts, and at which temperature."""

    model: Path
    split: Split
    temperature: float
    samples: int
    max_prompts: int | None = None


def generator_id(workspace: Workspace, config: GenerationConfig, sampling: Sampling) -> str:
    """The id of this model's samples at these settings."""
    fingerprint = model_fingerprint(sampling.model, workspace.fingerprints)
    template = load_chat_format(sampling.model).template_hash
    return generator_of(config, sampling.temperature, fingerprint, template)


def generator_of(config: GenerationConfig, temperature: float, fingerprint: str, template: str) -> str:
    """As `generator_id`, given the hashes of a model's files and of its chat template."""
    return ids.generator_id(
        fingerprint=fingerprint,
        temperature=temperature,
        top_p=config.top_p,
        max_tokens=config.max_tokens,
        seed=config.seed,
        template=template,
        variables=template_variables(config),
        sampling={s.field: s.value for s in settings_in("sampling", config.sampling) if not s.at_default},
    )


@task(
    name="generate",
    task_run_name="generate {sampling.split} responses by {sampling.model.name}",
    cache_policy=NO_CACHE,
)
def generate(
    workspace: Workspace,
    run_id: str,
    config: GenerationConfig,
    sampling: Sampling,
    max_prompt_tokens: int,
    *,
    engines: Engines,
    on_progress: ProgressCallback = no_progress,
) -> StageCounts:
    """Draw the missing samples and store each shard as it arrives; no engine starts if none is missing.

    If single samples fail, they are stored with the reason.

    Raises:
        EngineError: the engine cannot be used, or fails for too many of the samples.
    """
    database = workspace.database
    generator = generator_id(workspace, config, sampling)
    wanted = Samples(run_id, generator, sampling.split, sampling.samples, sampling.max_prompts)
    missing = responses.count_missing_samples(database, wanted)
    failures = Failures(partial(_save_failures, workspace, generator), missing)
    if missing:
        chat = generation_chat(config, sampling.model)
        thoughts, stop = thoughts_of(chat), config.sampling.stop
        pages = responses.iter_missing_samples(database, wanted)
        length, requests = sampled_length(
            _requests(chat, pages, generator, config.seed, failures.add), lambda request: request.prompt_ids
        )
        # The template of a trained model may print more than that of its base (`training/words.py`).
        longest = max_prompt_tokens + chat.added_tokens(generation_chat(config))
        name = generating_engine(config, sampling.model)
        # Servers have the model already, an adapter as their user chose to serve it.
        model = sampling.model if name == SERVER else whole_model(workspace, sampling.model)
        settings = _settings(config, model, sampling, chat.stop_token_ids, longest)
        work = Work(missing, length, config.max_tokens)
        engine = engines.generator(name, settings, work, workspace.scratch("generate"))
        failures.settle(
            engine.generate(requests),
            lambda drawn: responses.save_responses(
                database, generator, [_response(chat, thoughts, stop, each, generator) for each in drawn]
            ),
            on_progress,
        )
    of_run = (database, replace(wanted, max_prompts=None))
    return failures.check(
        partial(responses.generation_failures, *of_run),
        what="samples could not be drawn",
        advice=f"Look at the model {sampling.model} and its chat template.",
        error=EngineError,
        forget=partial(responses.forget_generation_failures, *of_run),
    )


def _settings(
    config: GenerationConfig,
    model: Path,
    sampling: Sampling,
    stop_token_ids: tuple[int, ...],
    max_prompt_tokens: int,
) -> Generating:
    servers = servers_of(config)
    if servers is not None and loads_adapter(config, model):
        servers = replace(servers, loads=True)
    return Generating(
        model=model,
        temperature=sampling.temperature,
        top_p=config.top_p,
        **config.sampling.model_dump(),
        max_tokens=config.max_tokens,
        stop_token_ids=stop_token_ids,
        max_prompt_tokens=max_prompt_tokens,
        rows_per_shard=config.rows_per_shard,
        gpu_memory_share=config.gpu_memory_share,
        servers=servers,
        copies=copies_of(config),
    )


def _save_failures(workspace: Workspace, generator: str, failures: Sequence[RowFailure]) -> None:
    rows = [(*_sample_of(failure.row_id), failure.reason) for failure in failures]
    responses.save_generation_failures(workspace.database, generator, rows)


def _sample_of(request_id: str) -> tuple[str, int]:
    prompt_id, _, index = request_id.rpartition(_SEPARATOR)
    return prompt_id, int(index)


def _requests(
    chat: ChatFormat,
    pages: Iterator[list[Sample]],
    generator: str,
    seed: int,
    on_failures: Callable[[Sequence[RowFailure]], None],
) -> Iterator[GenerationRequest]:
    """Prompts as token ids; those that the chat template refuses go to `on_failures`."""
    for page in pages:
        outcomes = chat.prompt_ids_or_reasons([sample.messages for sample in page])
        # The request's id names the sample, so that no table of open requests is needed.
        keys = [f"{sample.prompt_id}{_SEPARATOR}{sample.sample_index}" for sample in page]
        on_failures([RowFailure(k, o) for k, o in zip(keys, outcomes, strict=True) if isinstance(o, str)])
        for sample, request_id, prompt_ids in zip(page, keys, outcomes, strict=True):
            if not isinstance(prompt_ids, str):
                # The seed comes from the row's id, so that the sample does not depend on other rows.
                response_id = ids.response_id(sample.prompt_id, generator, sample.sample_index)
                yield GenerationRequest(request_id, prompt_ids, (int(response_id[-7:], 16) + seed) % 2**31)


def _response(
    chat: ChatFormat, thoughts: Thoughts | None, stop: Sequence[str], drawn: Generation, generator: str
) -> Response:
    token_ids, finish = drawn.token_ids, drawn.finish_reason
    # The engines search for it in all that they draw, an end of turn included: first, while that is there.
    before = before_stop(chat, token_ids, stop) if stop else None
    if before is not None:
        token_ids, finish = before, FinishReason.STOP
    elif finish is FinishReason.STOP:
        # Tokens of an end of turn before its stop token are generated too, and not part of the answer.
        token_ids = chat.without_end_of_turn(token_ids)
    thought = Parts(None, (), token_ids) if thoughts is None else thoughts.split(token_ids)
    answer = thought.answer_ids or ()
    prompt_id, index = _sample_of(drawn.request_id)
    return Response(
        response_id=ids.response_id(prompt_id, generator, index),
        prompt_id=prompt_id,
        sample_index=index,
        text=chat.decode(answer),
        token_ids=answer,
        finish_reason=finish,
        thought=thought.thought,
        thought_ids=thought.thought_ids or None,
    )
