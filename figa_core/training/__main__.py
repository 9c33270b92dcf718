"""One rank of a training: ``python -m figa_core.training --job job.json``, started by torchrun.

On a cluster, start it with any launcher that sets RANK, LOCAL_RANK, LOCAL_WORLD_SIZE, WORLD_SIZE, MASTER_ADDR
and MASTER_PORT.
"""

import argparse
import logging
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from figa_core.errors import TrainingError
from figa_core.processes.children import die_with_parent
from figa_core.processes.memory import peak_rss_bytes
from figa_core.processes.tell import tell, tell_troubles
from figa_core.training.alarms import alarm_that_ends
from figa_core.training.failures import full_memory, is_from_another_rank
from figa_core.training.going_back import held_out_record, steps_to_do
from figa_core.training.job import TrainingJob
from figa_core.training.nodes.meet import company_of
from figa_core.training.stop import StopRequest

if TYPE_CHECKING:
    from figa_core.training.checkpoints import Checkpoint
    from figa_core.training.data import PairData
    from figa_core.training.engine import ZeroEngine
    from figa_core.training.loop import TrainingEnd

_VERSIONED = ("figa", "torch", "transformers", "deepspeed")


def main() -> int:
    """Train. Returns 0 if done or stopped on request; 1 on an error, which is in the output directory."""
    die_with_parent()
    tell_troubles()
    parser = argparse.ArgumentParser(prog="figa_core.training")
    parser.add_argument("--job", type=Path, required=True)
    # The deepspeed launcher passes this; torchrun sets LOCAL_RANK instead.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=None)
    parser.add_argument("--checkpoints-verified", action="store_true", help="Skip the check of their hashes.")
    arguments = parser.parse_args()
    if arguments.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(arguments.local_rank))
    company, job = company_of(arguments.job), None
    try:
        company.gather()
        job = TrainingJob.from_json(arguments.job.read_text(encoding="utf-8"), source=str(arguments.job))
        _run(job, StopRequest(job.output), time.perf_counter(), verified=arguments.checkpoints_verified)
        company.part()
    except Exception as error:
        secondary = is_from_another_rank(error)
        error = (job and full_memory(error, job)) or error
        company.fail(error, job.output if job else arguments.job.parent, secondary=secondary)
        if not isinstance(error, TrainingError):
            raise
        tell(f"TrainingError: {error}", logging.ERROR)
        return 1
    return 0


def _run(job: TrainingJob, stop: StopRequest, started: float, *, verified: bool) -> None:
    from figa_core.training import checkpoints
    from figa_core.training.data import PairData
    from figa_core.training.engine import ZeroEngine
    from figa_core.training.export import rehearse
    from figa_core.training.loop import train
    from figa_core.training.objectives.registry import objective_named
    from figa_core.training.selection import select_pairs
    from figa_core.training.words import word_ids

    words = word_ids(job.model, objective_named(job.objective))
    chosen = select_pairs(job)
    data = PairData(job.shards, job.reference_log_probs, drawn=chosen.trained, word_ids=words)
    apart = None
    if chosen.apart is not None:
        apart = PairData(job.shards, job.reference_log_probs, drawn=chosen.apart, word_ids=words)
    engine = ZeroEngine(job)
    if engine.ranks != job.training.ranks:
        raise TrainingError(
            f"{engine.ranks} ranks were started, but the job has training.processes = "
            f"{job.training.processes} on {job.training.nodes} node(s). Start as many ranks."
        )
    if engine.rank == 0:
        if engine.device.type != "cuda":
            tell("no GPU is seen here: the training runs on the CPU")
        checkpoints.check_own(job)
        if not verified:
            for damage in checkpoints.remove_damaged(job):
                tell(damage)
        for line in rehearse(engine.model, job):
            tell(line)
    engine.barrier()
    before = checkpoints.last_whole(job)
    if engine.rank == 0:
        tell(_summary(job, engine, pairs=len(data), before=before))
    end = train(job, engine, data, apart=apart, stop=stop)
    if end.done:
        _export(job, engine, end, apart, (before.seconds if before else 0.0) - started)
    elif engine.rank == 0:
        tell(_stopped(job, end))
    engine.barrier()
    engine.close()


def _stopped(job: TrainingJob, end: "TrainingEnd") -> str:
    alarm = alarm_that_ends(end.alarms)
    if alarm is None and end.over:
        return (
            f"ended after step {end.step} of {job.steps}; the result is the model with the lowest loss on "
            "held-out pairs"
        )
    if alarm is None:
        return f"stopped on request after step {end.step} of {job.steps}; run again to continue from there"
    return f"an alarm ended the training after step {end.step} of {job.steps}; {alarm.way_back}"


def _export(
    job: TrainingJob,
    engine: "ZeroEngine",
    end: "TrainingEnd",
    apart: "PairData | None",
    seconds_since: float,
) -> None:
    from figa_core.training import checkpoints
    from figa_core.training.change import weight_change
    from figa_core.training.export import export_model
    from figa_core.training.lora_export import base_fingerprint, export_lora

    updates = engine.updates()
    if engine.lora is None:
        export_model(engine.model, engine.weight, job, writes=engine.rank == 0)
    peak_rss = int(engine.total(peak_rss_bytes())[0])
    if engine.rank == 0:
        if engine.lora is None:
            change = weight_change(job.model, job.model_dir)
        else:
            change = export_lora(engine.lora, updates, job)
        checkpoints.finish(
            job,
            checkpoints.TrainingManifest(
                training_id=job.training_id,
                steps=end.step,
                skipped_steps=end.skipped,
                wall_seconds=round(time.perf_counter() + seconds_since, 2),
                peak_rss_bytes=peak_rss,
                versions={name: version(name) for name in (*_VERSIONED, *(("peft",) if engine.lora else ()))},
                overflowed_steps=end.overflowed,
                change=change,
                planned_steps=job.steps,
                alarms=end.alarms,
                watched=end.watched,
                held_out=held_out_record(job, 0 if apart is None else len(apart)),
                base_fingerprint=None if engine.lora is None else base_fingerprint(job),
            ),
        )


def _summary(job: TrainingJob, engine: "ZeroEngine", *, pairs: int, before: "Checkpoint | None") -> str:
    """A line for the run's log."""
    from figa_core.training.model import parameters_of

    size = parameters_of(engine.model) if engine.lora is None else engine.lora.total
    trained = "" if engine.lora is None else f"; {engine.lora}"
    last = steps_to_do(job)
    steps = f"resumes after step {before.step} of {last}" if before else f"{last} steps from the start"
    if before and not before.is_laid_out_for(job):
        steps += f", from a checkpoint of {before.layout}"
    again = ", with activations computed again in the backward pass" if engine.recomputes else ""
    return (
        f"objective {job.objective}: {size:,} parameters in {job.training.dtype}, ZeRO-{engine.stage} on "
        f"{engine.ranks} rank(s) ({engine.device.type}), {pairs:,} pairs in "
        f"{engine.attention}{again}{trained}; {steps}"
    )


if __name__ == "__main__":
    sys.exit(main())
