"""Run by torchrun (`jobs.run_gradient_jobs`): a step of SGD with learning rate 1 subtracts the gradient.

The step is run by `loop.train`. Usage: rank_gradients.py JOBS_DIR. Each job's gradient is written to
JOBS_DIR/<training_id>.safetensors. A job of more steps is run with its own optimizer, and the whole change of
its weights is written, with the opposite sign. If it has a checkpoint before its end, it is stopped there and
resumed by a new engine.
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from figa_core.processes.children import die_with_parent
from figa_core.training import loop
from figa_core.training.data import PairData
from figa_core.training.engine import ZeroEngine
from figa_core.training.job import TrainingJob
from figa_core.training.optimizers import Groups


def sgd(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate)


def use_the_path_of_a_gpu() -> None:
    """A CPU with bfloat16 instructions would get its 4-bit weights in an order that has no backward pass."""
    from bitsandbytes.nn import modules

    modules.has_avx512bf16 = lambda: False  # pyright: ignore[reportPrivateImportUsage]


def change(job: TrainingJob, target: Path) -> None:
    data = PairData(job.shards, job.reference_log_probs)
    engine = ZeroEngine(job, make_optimizer=sgd if job.steps == 1 else None)
    plan = loop.Steps(job, engine, data).plan(1)
    before = weights_of(engine)
    if (first := job.training.checkpoint_steps) < job.steps:
        asked = iter(range(job.steps))
        stopped = loop.train(job, engine, data, stop=lambda: next(asked) == first)
        assert (stopped.step, stopped.done) == (first, False)
        engine = ZeroEngine(job)
    end = loop.train(job, engine, data)
    assert (end.step, end.skipped, end.overflowed) == (job.steps, 0, 0)
    after = weights_of(engine)
    if engine.rank == 0:
        moved = {name: (before[name] - after[name]).contiguous() for name in before}
        save_file(moved, target, {"micro_batches": str(len(plan.micro_batches))})


def weights_of(engine: ZeroEngine) -> dict[str, torch.Tensor]:
    """Copies of all trained weights, tied ones under one name; on rank 0."""
    named = engine.model.named_parameters()
    names = [name for name, parameter in named if parameter.requires_grad]
    return {name: engine.weight(name).clone() for name in names}


if __name__ == "__main__":
    die_with_parent()
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        job = TrainingJob.from_json(path.read_text())
        if job.training.lora.quantize:
            use_the_path_of_a_gpu()
        change(job, path.with_suffix(".safetensors"))
