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
from figa_core.storage.runs import Run, find_run
from figa_core.storage.summary import reference_rewards
from figa_core.study import shift
from figa_core.study.mmd import Discrepancy, discrepancy
from figa_core.study.report import ShiftStudy
from figa_core.training import reference_log_probs
from figa_core.training.objectives.base import Answer
from figa_core.training.objectives.registry import label_of
from figa_core.training.reference_process import run_log_probs
from tasks.judged_models import trained_model
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

    The log-probabilities that it needs are kept beside the shards: a second study computes none.

    Raises:
        InputError: the run has no pairs yet.
        StorageError: its shards are damaged.
        TrainingError: a model's pass over the pairs failed.
        EngineError: the embedder cannot be loaded.
        WorkspaceError: the workspace cannot be written.
    """
    run = find_run(workspace.database, run_id)
    config = PipelineConfig.model_validate(run.config)
    shards, of_pairs = _shards(workspace, run)
    workspace.check_writable()
    pairs = list(islice((pair for table in iter_tables(shards) for pair in pairs_of(table)), PAIRS_MAX))
    base = whole_model(workspace, config.generation.model)
    nll = {
        label: _nll(workspace, shards, model, config, len(pairs), tell)
        for label, model in {BASE_LABEL: base, **_trained(workspace, run, config)}.items()
    }
    embedder = embedder or base
    tell(f"embeddings of at most {_EMBEDDED_MAX:,} pairs by {embedder}")
    discrepancies = _discrepancies(pairs, base, embedder)
    study = _study(run, pairs, of_pairs, nll, discrepancies, _rewards(workspace, run, pairs), embedder)
    return study, write_shift(workspace, study)


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


def _trained(workspace: Workspace, run: Run, config: PipelineConfig) -> dict[str, Path]:
    """The run's finished trainings, by label."""
    objectives = dict.fromkeys((config.loss.objective, *config.evaluation.baselines))
    found = {label_of(each): trained_model(workspace, run, each) for each in objectives}
    return {label: whole_model(workspace, model) for label, model in found.items() if model is not None}


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


def _discrepancies(pairs: Sequence[WeighedPair], base: Path, embedder: Path) -> dict[str, Discrepancy | None]:
    from figa_core.study.embed import Embedder

    embed, decode = Embedder(embedder), load_chat_format(base).decode
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


def _ids(pairs: Sequence[WeighedPair], answer: str) -> list[tuple[int, ...]]:
    return [getattr(pair, f"{answer}_ids") for pair in pairs]


def _study(
    run: Run,
    pairs: Sequence[WeighedPair],
    of_pairs: int,
    nll: Mapping[str, Mapping[str, shift.Values]],
    discrepancies: Mapping[str, Discrepancy | None],
    rewards: Mapping[str, shift.Values],
    embedder: Path,
) -> ShiftStudy:
    base, responses = nll[BASE_LABEL], _ids(pairs, "response")
    return ShiftStudy(
        run_id=run.run_id,
        shard_set_id=run.found.shard_set_id or "",
        pairs=len(pairs),
        of_pairs=of_pairs,
        embedder=str(embedder),
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
            each: shift.mean_of(shift.edit_shares(responses, _ids(pairs, each))) for each in _CHANGED
        },
        novel_shares={each: shift.novel_shares(responses, _ids(pairs, each)) for each in _CHANGED},
        discrepancies=discrepancies,
        equal_reward=shift.at_equal_reward(rewards, base),
    )


def _rewards(workspace: Workspace, run: Run, pairs: Sequence[WeighedPair]) -> dict[str, shift.Values]:
    """R(Ỹ) and R(Y) by the scorer that the run trains by."""
    known = reference_rewards(workspace.database, run.run_id, run.found.training_scorer)
    return {
        "revision": np.asarray([pair.revision_reward for pair in pairs]),
        "reference": np.asarray([known.get(pair.pair_id, float("nan")) for pair in pairs]),
    }
