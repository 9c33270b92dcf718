"""Estimates the disk space a training needs from sizes alone, for a check before it starts."""

from dataclasses import dataclass
from pathlib import Path

from figa_core.config.optimization import OptimizerKind
from figa_core.config.training import DType, TrainingConfig
from figa_core.models.adapter import underlying
from figa_core.models.weight_files import read_weights
from figa_core.training.job import TrainingJob
from figa_core.training.optimizer_size import state_bytes

# Of each weight, as DeepSpeed 0.19 writes it beside its float32 master; ZeRO-3 writes the master alone.
_WEIGHT_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2}


def training_bytes(training: TrainingConfig, parameters: int, *, exported_bytes: int, steps: int) -> int:
    """The most bytes that checkpoints and exported model take at once.

    `parameters` is the number of trained weights (tied ones once), `exported_bytes` the size of its weights
    in the dtype of the base model. A training that is asked to stop writes one more checkpoint.
    """
    checkpoints = min(_at_once(training), (steps - 1) // training.checkpoint_steps + 1)
    each = checkpoint_bytes(
        parameters, dtype=training.dtype, stage=training.zero_stage, kind=training.optimizer.kind
    )
    return checkpoints * each + exported_bytes


def _at_once(training: TrainingConfig) -> int:
    """The newest, those that an alarm or the best step on held-out pairs may go back to, and the next."""
    return training.checkpoints.kept + 1 + (training.held_out.result == "best") + 1


def checkpoint_bytes(parameters: int, *, dtype: DType, stage: int, kind: OptimizerKind) -> int:
    """The size of one checkpoint, of all ranks, with this ZeRO stage."""
    width = 0 if stage == 3 else _WEIGHT_BYTES[dtype]
    return parameters * (width + 4) + state_bytes(kind, parameters)


def bytes_of_checkpoint(job: TrainingJob) -> int:
    """The size of one checkpoint of this job, of all ranks, from the headers of its model's files."""
    how, (parameters, _) = job.training, size_of(job.model, job.training.lora.rank)
    return checkpoint_bytes(parameters, dtype=how.dtype, stage=how.zero_stage, kind=how.optimizer.kind)


def size_of(model: Path, lora_rank: int | None = None) -> tuple[int, int]:
    """Trained weights of a model (tied ones once), and the bytes that all its weights take in its files.

    With LoRA the trained weights are at most so many: as if every matrix got an update.
    """
    weights = read_weights(underlying(model))
    trained = weights.parameters
    if lora_rank is not None:
        matrices = (each.shape for each in weights.tensors.values() if len(each.shape) == 2)
        trained = min(trained, sum(lora_rank * sum(shape) for shape in matrices))
    return trained, sum(each.end - each.begin for each in weights.tensors.values())


@dataclass(frozen=True, slots=True)
class Room:
    """A sentence about the disk space of a training. Without room for one checkpoint and the model it is not
    `enough`; it is `tight` if not all checkpoints fit that are kept at once.
    """

    text: str
    enough: bool = True
    tight: bool = False


def room_for(job: TrainingJob, *, free: int) -> Room:
    """`free`: bytes that are free in the training's directory; its own files there count as free, too."""
    parameters, exported = size_of(job.model, job.training.lora.rank)

    def bytes_of(steps: int) -> int:
        return training_bytes(job.training, parameters, exported_bytes=exported, steps=steps)

    own = sum(path.stat().st_size for path in job.output.rglob("*") if path.is_file())
    least, most, room = bytes_of(1), bytes_of(job.steps), free + own
    each = f"a checkpoint takes {_size(least - exported)}, and the trained model {_size(exported)}"
    if room < least:
        remedy = "Free space, or use a larger disk."
        return Room(f"{job.output}: {each}, but {_size(room)} are free there. {remedy}", enough=False)
    if room < most:
        return Room(
            f"{each}; at once they take up to {_size(most)}, and {_size(room)} are free. The training goes "
            "on without a checkpoint that does not fit",
            tight=True,
        )
    return Room(each)


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
