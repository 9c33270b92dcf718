"""Stage weigh: admitted pairs → Parquet shards of token ids and edit classes."""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from figa_core import ids
from figa_core.chat.format import ChatFormat
from figa_core.config import GenerationConfig, WeightingConfig
from figa_core.errors import NothingToDoError
from figa_core.filtering import most_frequent_first
from figa_core.ports import ProgressCallback
from figa_core.records import AdmittedPair, WeighedPair
from figa_core.shards.manifest import ShardManifest
from figa_core.shards.write import write_shards
from figa_core.storage.admitted import AdmittedPairs, forget_weighed, save_skipped, save_weighed_shards
from figa_core.storage.people import EXCLUDED, settle_exclusions
from figa_core.storage.runs import Findings, save_findings
from figa_core.training.objectives.registry import objective_named
from figa_core.weighting.best import with_best_samples
from figa_core.weighting.schemes import HIGHEST_SCORES, LLM_GRADED, scheme_named
from figa_core.weighting.weigh import SkippedPair, weigh_pairs
from tasks.chat_formats import generation_chat
from tasks.results import StageCounts, no_progress
from tasks.workspace import Workspace

_Weigh = Callable[[Sequence[AdmittedPair]], Iterator[WeighedPair | SkippedPair]]


@dataclass(frozen=True, slots=True)
class WeighResult:
    """Where the shards are, and the stage's counts.

    `with_best`: the same pairs with the best sample of each prompt, if it was asked for.
    """

    shard_set_id: str
    directory: Path
    counts: StageCounts
    with_best: Path | None = None

    def shards_for(self, objective: str) -> Path:
        """The shard set that this objective is trained on."""
        if "best" not in objective_named(objective).answers:
            return self.directory
        assert self.with_best is not None, "the checks of the settings ask for it"
        return self.with_best


@task(name="weigh", task_run_name="weigh by {config.scheme}", cache_policy=NO_CACHE)
def weigh(
    workspace: Workspace,
    run_id: str,
    config: WeightingConfig,
    generation: GenerationConfig,
    scorer: str,
    *,
    of_run: bool = True,
    best_of: int | None = None,
    on_progress: ProgressCallback = no_progress,
) -> WeighResult:
    """Align every admitted pair once; an existing complete shard set with the same content is reused.

    `of_run`: these are the run's own shards, which its report shows.
    With `best_of`, the number of samples of each prompt, a second shard set is written that has the best of
    them too. The first stays what it is, and so do the trainings on it.

    Raises:
        NothingToDoError: no pair has an edit within the maximum length.
    """
    chat = generation_chat(generation)
    thoughts = "cut" if generation.thinking == "cut" else None
    highest = HIGHEST_SCORES.get(config.scheme)
    weigh_page = partial(
        weigh_pairs,
        chat,
        scheme=scheme_named(config.scheme),
        max_length=config.max_length,
        highest_score=highest,
        with_thoughts=thoughts is None,
    )
    if highest is not None and of_run:
        forget_weighed(workspace.database, run_id)
    thrown_out = settle_exclusions(workspace.database, run_id) if of_run else 0
    scratch = workspace.scratch("weigh")
    try:
        pairs = AdmittedPairs(workspace.database, run_id, scorer, scratch, best_of=best_of)
        manifest = _write(workspace, pairs, weigh_page, chat, config, scorer, thoughts, on_progress)
        best = None
        if best_of is not None and manifest is not None:
            weigh_best = partial(_with_best, chat, weigh_page, config.max_length)
            best = _write(
                workspace, pairs, weigh_best, chat, config, scorer, thoughts, on_progress, with_best=True
            )
        if manifest is not None and of_run:
            _record_set(workspace, run_id, manifest)
        reasons = _record_left_out(workspace, run_id, scorer, weigh_page) if of_run else {}
        if thrown_out:
            reasons = most_frequent_first(Counter({**reasons, EXCLUDED: thrown_out}))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if manifest is None:
        raise NothingToDoError(
            f"weigh: none of {len(pairs) + thrown_out} pairs can be trained on: {reasons}. "
            "Raise weighting.max_length, or put pairs back with `figa annotate`."
        )
    counts = StageCounts(len(pairs) + thrown_out, manifest.pairs, reasons)
    with_best = workspace.shards(best.shard_set_id) if best else None
    return WeighResult(manifest.shard_set_id, workspace.shards(manifest.shard_set_id), counts, with_best)


def _record_set(workspace: Workspace, run_id: str, manifest: ShardManifest) -> None:
    """Store that these are the run's own shards, and which pairs they have."""
    directory = workspace.shards(manifest.shard_set_id)
    save_weighed_shards(workspace.database, run_id, [directory / shard.file for shard in manifest.shards])
    save_findings(workspace.database, run_id, Findings(shard_set_id=manifest.shard_set_id))


def _with_best(
    chat: ChatFormat, weigh_page: _Weigh, max_length: int, page: Sequence[AdmittedPair]
) -> Iterator[WeighedPair | SkippedPair]:
    return with_best_samples(chat, page, weigh_page(page), max_length=max_length)


def _write(
    workspace: Workspace,
    pairs: AdmittedPairs,
    weigh_page: _Weigh,
    chat: ChatFormat,
    config: WeightingConfig,
    scorer: str,
    thoughts: str | None,
    on_progress: ProgressCallback,
    *,
    with_best: bool = False,
) -> ShardManifest | None:
    """Write the shard set of these pairs unless it exists; None if no pair can be trained on."""
    shard_set_id = ids.shard_set_id(
        pairs=pairs.ids(),
        tokenizer=chat.tokenizer_hash,
        template=chat.template_hash,
        scorer=scorer,
        scheme=config.scheme,
        max_length=config.max_length,
        best=pairs.best_ids() if with_best else None,
        scores=pairs.scores() if config.scheme in HIGHEST_SCORES else None,
        thoughts=thoughts,
    )
    try:
        return write_shards(
            workspace.shards(shard_set_id),
            _weighed(pairs.pages(), weigh_page, lambda done: on_progress(done, len(pairs))),
            shard_set_id=shard_set_id,
            tokenizer_hash=chat.tokenizer_hash,
            template_hash=chat.template_hash,
            scheme=config.scheme,
            max_length=config.max_length,
            pairs_per_shard=config.pairs_per_shard,
            with_best=with_best,
            with_factors=config.scheme == LLM_GRADED,
        )
    except NothingToDoError:
        return None


def _weighed(
    pages: Iterator[list[AdmittedPair]], weigh_page: _Weigh, on_done: Callable[[int], None]
) -> Iterator[WeighedPair]:
    done = 0
    for page in pages:
        for outcome in weigh_page(page):
            if isinstance(outcome, WeighedPair):
                yield outcome
        done += len(page)
        on_done(done)


def _record_left_out(workspace: Workspace, run_id: str, scorer: str, weigh_page: _Weigh) -> dict[str, int]:
    """Store why pairs are not in the shard set; returns the counts by reason.

    Another run may have written the set, or this run may have been killed right after writing it. Weighing
    the missing pairs again finds the same reasons in every case.
    """
    database, counts = workspace.database, Counter[str]()
    undecided = AdmittedPairs(database, run_id, scorer, workspace.scratch("weigh"), only_undecided=True)
    for page in undecided.pages():
        skipped = {o.pair_id: o.reason for o in weigh_page(page) if isinstance(o, SkippedPair)}
        save_skipped(database, run_id, skipped)
        counts.update(skipped.values())
    return most_frequent_first(counts)
