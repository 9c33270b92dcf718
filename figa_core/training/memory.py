"""What a person can do where a GPU's memory is full: PyTorch's own words are of its allocator."""

from figa_core.errors import TrainingError, one_line
from figa_core.training.job import TrainingJob

# PyTorch's class; this module does not import PyTorch, which is slow.
_OUT_OF_MEMORY = "OutOfMemoryError"


def full_memory(error: BaseException, job: TrainingJob) -> TrainingError | None:
    """The error to raise instead of one that says that a device has no memory left; None for any other."""
    if type(error).__name__ != _OUT_OF_MEMORY:
        return None
    remedies = [f"lower training.tokens_per_batch (now {job.training.tokens_per_batch:,})"]
    if job.training.dtype == "float32":
        remedies.append('set training.dtype to "bfloat16"')
    remedies.append(
        "raise training.processes where there are more GPUs"
        + ("" if job.training.zero_stage == 3 else ", with training.zero_stage 3")
    )
    return TrainingError(
        f"the GPU's memory is full. {remedies[0][0].upper()}{remedies[0][1:]}, {', '.join(remedies[1:])}, or "
        "train a smaller model. Nothing was exported; the last checkpoint stays. PyTorch reports: "
        f"{one_line(error)}"
    )
