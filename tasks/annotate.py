"""People look at a run's pairs: opens what `figa annotate` shows and exchanges what was said of it."""

from datetime import UTC, datetime

from figa_core.annotation.agreement import judged_by_scheme
from figa_core.annotation.desk import Desk, Job
from figa_core.annotation.store import JudgementFile
from figa_core.config import PipelineConfig
from figa_core.errors import InputError
from figa_core.report.data import PeopleSaid
from figa_core.report.tokens import Decode
from figa_core.shards.manifest import ShardManifest, read_manifest
from figa_core.shards.read import PairsByPlace
from figa_core.storage import people
from figa_core.storage.runs import Run, find_run
from tasks.chat_formats import generation_chat
from tasks.workspace import Workspace


def open_desk(workspace: Workspace, run_id: str | None, *, pairs_max: int | None, blind: bool) -> Desk:
    """The desk for a run (by default the latest).

    Raises:
        InputError: there is no such run, or it has no pairs yet.
        ConfigError: its model's tokenizer cannot be loaded.
        StorageError: its shard set is damaged.
    """
    run = find_run(workspace.database, run_id)
    job, manifest = job_of(workspace, run)
    return Desk(
        job,
        PairsByPlace(workspace.shards(manifest.shard_set_id)),
        decoder(run, manifest),
        workspace.database,
        JudgementFile(workspace.annotations),
        now=now,
        pairs_max=pairs_max,
        blind=blind,
    )


def job_of(workspace: Workspace, run: Run) -> tuple[Job, ShardManifest]:
    """What is judged of a run, and its shard set; raises InputError if it has none."""
    shard_set_id = run.found.shard_set_id
    manifest = read_manifest(workspace.shards(shard_set_id)) if shard_set_id else None
    if manifest is None:
        raise InputError(
            f"run {run.run_id} has no pairs to judge: "
            + ("its shard set was removed" if shard_set_id else "it has not come to the stage weigh")
            + ". Run it (again) with `figa run`, or name another run with --run."
        )
    return Job(run.run_id, run.name, manifest.scheme, manifest.shard_set_id), manifest


def decoder(run: Run, manifest: ShardManifest) -> Decode:
    """Token ids of the set → text; raises InputError if the model has another tokenizer than it had then."""
    config = PipelineConfig.model_validate(run.config)
    chat = generation_chat(config.generation)
    if chat.tokenizer_hash != manifest.tokenizer_hash:
        raise InputError(
            f"{config.generation.model}: its tokenizer is not the one that the pairs were made with. Restore "
            "the model's files."
        )
    return chat.decode


def people_said(workspace: Workspace, run: Run) -> PeopleSaid:
    """What people did with this run's pairs, under every scheme and whichever run they looked at."""
    pairs = people.judged_ids(workspace.database, run.run_id)
    judgements = [j for j in JudgementFile(workspace.annotations).all() if j.pair_id in pairs]
    return PeopleSaid(
        judged_by_scheme(judgements),
        thrown_out=people.count_excluded(workspace.database, run.run_id),
        corrected=people.count_corrected(workspace.database, run.run_id),
    )


def now() -> str:
    """The current time in ISO format, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
