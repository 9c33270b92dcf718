"""`figa study`: measures on the pairs of a run that has been made. It changes nothing in the database."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from figa_core import ids
from figa_core.chat.format import load_chat_format
from figa_core.config import PipelineConfig
from figa_core.errors import InputError
from figa_core.models.fingerprint import model_fingerprint
from figa_core.records import WeighedPair
from figa_core.shards.manifest import read_manifest
from figa_core.shards.read import iter_tables, pairs_of
from figa_core.storage.responses import iter_answers
from figa_core.storage.runs import Run, find_run
from figa_core.storage.summary import reference_rewards
from figa_core.study import shift
from figa_core.study.answers import AnswerShift, Embed, HeldOutAnswer, answer_shifts
from figa_core.study.data import ShiftStudy
from figa_core.study.mmd import Discrepancy, discrepancy
from figa_core.study.sentence_encoder import NAME, installed_encoder
from figa_core.training import reference_log_probs
from figa_core.training.objectives.base import Answer
from figa_core.training.reference_process import run_log_probs
from tasks.compare import held_out, trained_generator
from tasks.evaluate import held_out_sampling
from tasks.generate import generator_id
from tasks.study_models import StudiedModel, studied_models
from tasks.study_report import write_shift
from tasks.train import BASE_LABEL
from tasks.whole_models import whole_model
from tasks.workspace import Workspace

PAIRS_MAX = 10_000
"""Of the shard set, the first; what is kept of them in memory does not grow with the run."""

_EMBEDDED_MAX = 1_000  # a kernel is a matrix of all of them
_ANSWERS: tuple[Answer, ...] = ("response", "revision", "reference")
_CHANGED = ("revision", "reference")

Tell = Callable[[str], None]


def study_shift(
    workspace: Workspace, run_id: str | None, *, embedder: Path | None, tell: Tell
) -> tuple[ShiftStudy, Path]:
    """Measure the distribution shift of a run's pairs, and write a page and JSON to WORKSPACE/studies.

    `embedder`: by default the installed sentence encoder, or else the base model.

    The log-probabilities that it needs are kept beside the shards: a second study computes none. Nothing is
    generated: the held-out answers are those that are stored.

    Raises:
        InputError: the run has no pairs yet.
        StorageError: its shards are damaged.
        ConfigError: the embedder's directory does not exist, or has no usable tokenizer.
        EngineError: the embedder cannot be loaded.
        TrainingError: a model's pass over the pairs failed.
        WorkspaceError: the workspace cannot be written.
    """
    from figa_core.study.embed import Embedder

    run = find_run(workspace.database, run_id)
    config = PipelineConfig.model_validate(run.config)
    shards, of_pairs = _shards(workspace, run)
    workspace.check_writable()
    base = whole_model(workspace, config.generation.model)
    encoder, encoder_name = _encoder(embedder, base)
    embed = Embedder(encoder)  # before the passes, which take longer
    models = studied_models(workspace, run, config)
    pairs = list(islice((pair for table in iter_tables(shards) for pair in pairs_of(table)), PAIRS_MAX))
    nll = {
        label: _nll(workspace, shards, model, config, len(pairs), tell)
        for label, model in {BASE_LABEL: base, **{each.label: each.model for each in models}}.items()
    }
    tell(f"embeddings of at most {_EMBEDDED_MAX:,} pairs by {encoder_name}")
    compared = with_all_answers(pairs)
    study = _study(
        run,
        (len(pairs), of_pairs),
        compared,
        nll,
        _discrepancies(compared, load_chat_format(base).decode, embed),
        _rewards(workspace, run, pairs),
        encoder_name,
        {each.label: each.pairs for each in models if each.pairs is not None},
        held_out_shifts(workspace, run, config, models, embed),
    )
    return study, write_shift(workspace, study)


def _encoder(given: Path | None, base: Path) -> tuple[Path, str]:
    """What embeds, and what it is called."""
    if given is not None:
        return given, str(given)
    installed = installed_encoder()
    if installed is not None:
        return installed, NAME
    return base, f"the base model ({base}), as no sentence encoder is installed (make embedder) or given"


def with_all_answers(pairs: Sequence[WeighedPair]) -> Sequence[WeighedPair]:
    """Those that have Y besides Ŷ and Ỹ, so that all are measured on the same pairs; all if none has."""
    return [pair for pair in pairs if pair.reference_ids] or pairs


def _shards(workspace: Workspace, run: Run) -> tuple[Path, int]:
    """The directory of the run's shard set, and how many pairs it has."""
    directory = workspace.shards(run.found.shard_set_id or "none")
    manifest = read_manifest(directory)
    if manifest is None:
        raise InputError(
            f"run {run.run_id} in {workspace.directory} has no weighed pairs to study. Continue it with "
            "`figa run`, or choose another with --run."
        )
    return directory, manifest.pairs


def _nll(
    workspace: Workspace, shards: Path, model: Path, config: PipelineConfig, pairs: int, tell: Tell
) -> dict[str, shift.Values]:
    """By answer, of the first `pairs`; NaN without one."""
    tell(f"log-probabilities under {model}")
    log_probs_id = ids.reference_log_probs_id(
        model=model_fingerprint(model, workspace.fingerprints), shards=shards.name, answers=_ANSWERS
    )
    directory = reference_log_probs.directory_of(shards, log_probs_id)
    run_log_probs(
        model,
        shards,
        directory,
        _ANSWERS,
        tokens_per_batch=config.training.tokens_per_batch,
        log_path=workspace.logs / f"study-{log_probs_id[-8:]}.log",
    )
    table = reference_log_probs.read(directory).slice(0, pairs)
    return {answer: shift.mean_nll(table.column(answer).to_pylist()) for answer in _ANSWERS}


def _discrepancies(
    pairs: Sequence[WeighedPair], decode: Callable[[Sequence[int]], str], embed: Embed
) -> dict[str, Discrepancy | None]:
    """Of Ỹ and of Y from Ŷ, on the same pairs."""
    some = pairs[:_EMBEDDED_MAX]
    vectors = {
        answer: embed(texts) if (texts := [decode(each) for each in _ids(some, answer) if each]) else None
        for answer in _ANSWERS
    }
    own = vectors["response"]
    return {
        answer: None if own is None or (other := vectors[answer]) is None else discrepancy(own, other)
        for answer in _CHANGED
    }


def held_out_shifts(
    workspace: Workspace, run: Run, config: PipelineConfig, models: Sequence[StudiedModel], embed: Embed
) -> dict[str, AnswerShift]:
    """By label, how far the stored held-out answers of models are from the base's."""
    base = generator_id(
        workspace, config.generation, held_out_sampling(config.evaluation, config.generation.model)
    )
    generators = {each.label: trained_generator(workspace, config, each.output) for each in models}
    stored = {
        label: _stored(workspace, run, config, generator)
        for label, generator in generators.items()
        if generator is not None
    }
    return answer_shifts(_stored(workspace, run, config, base), stored, embed, _EMBEDDED_MAX)


def _stored(
    workspace: Workspace, run: Run, config: PipelineConfig, generator: str
) -> dict[str, HeldOutAnswer]:
    samples = held_out(run.run_id, config, generator)
    return {
        prompt: HeldOutAnswer(text, token_ids)
        for prompt, text, token_ids in iter_answers(workspace.database, samples)
    }


def _ids(pairs: Sequence[WeighedPair], answer: str) -> list[tuple[int, ...]]:
    return [getattr(pair, f"{answer}_ids") for pair in pairs]


def _study(
    run: Run,
    pairs: tuple[int, int],
    compared: Sequence[WeighedPair],
    nll: Mapping[str, Mapping[str, shift.Values]],
    discrepancies: Mapping[str, Discrepancy | None],
    rewards: Mapping[str, shift.Values],
    embedder: str,
    trained_on: Mapping[str, int],
    answers: Mapping[str, AnswerShift],
) -> ShiftStudy:
    base, responses = nll[BASE_LABEL], _ids(compared, "response")
    same = shift.same_reward(rewards)
    return ShiftStudy(
        run_id=run.run_id,
        shard_set_id=run.found.shard_set_id or "",
        pairs=pairs[0],
        of_pairs=pairs[1],
        compared_pairs=len(compared),
        embedder=embedder,
        nll={model: {each: shift.mean_of(of[each]) for each in _ANSWERS} for model, of in nll.items()},
        shifts={
            model: {each: shift.mean_difference(of["response"], of[each]) for each in _CHANGED}
            for model, of in nll.items()
        },
        reference_less_revision={
            model: shift.mean_difference(of["revision"], of["reference"]) for model, of in nll.items()
        },
        kl_from_base={
            model: shift.mean_difference(base["response"], of["response"])
            for model, of in nll.items()
            if model != BASE_LABEL
        },
        edit_shares={
            each: shift.mean_of(shift.edit_shares(responses, _ids(compared, each))) for each in _CHANGED
        },
        novel_shares={each: shift.novel_shares(responses, _ids(compared, each)) for each in _CHANGED},
        discrepancies=discrepancies,
        equal_reward=None if same is None else shift.at_equal_reward(rewards, nll, same),
        trained_on=trained_on,
        equal_data=shift.at_equal_data(nll, trained_on, same),
        answers=answers,
    )


def _rewards(workspace: Workspace, run: Run, pairs: Sequence[WeighedPair]) -> dict[str, shift.Values]:
    """R(Ỹ) and R(Y) by the scorer that the run trains by."""
    known = reference_rewards(workspace.database, run.run_id, run.found.training_scorer)
    return {
        "revision": np.asarray([pair.revision_reward for pair in pairs]),
        "reference": np.asarray([known.get(pair.pair_id, float("nan")) for pair in pairs]),
    }
