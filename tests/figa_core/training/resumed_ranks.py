"""Run by torchrun (`test_repartition_on_ranks.py`): trainings that stop at a checkpoint, or go on from one.

Usage: resumed_ranks.py DIRECTORY. A job without a checkpoint in its output stops after `checkpoint_steps`,
one with a checkpoint makes the steps that are left. The weights at the checkpoint are written to
OUTPUT/weights.safetensors.
"""

import sys
from pathlib import Path

from safetensors.torch import save_file

from figa_core.processes.children import die_with_parent
from figa_core.training import checkpoints, loop
from figa_core.training.data import PairData
from figa_core.training.engine import ZeroEngine
from figa_core.training.job import TrainingJob
from tests.figa_core.training.rank_gradients import weights_of


class Engine(ZeroEngine):
    """Writes the weights as soon as they are loaded."""

    def load_state(self, directory: Path, tag: str, *, same_layout: bool = True) -> None:
        super().load_state(directory, tag, same_layout=same_layout)
        self.write()

    def write(self) -> None:
        weights = weights_of(self)
        if self.rank == 0:
            contiguous = {name: weight.contiguous() for name, weight in weights.items()}
            save_file(contiguous, self.job.output / "weights.safetensors")


def run(job: TrainingJob) -> None:
    first = job.steps if checkpoints.last_whole(job) else job.training.checkpoint_steps
    asked, engine = iter(range(job.steps)), Engine(job)
    end = loop.train(job, engine, PairData(job.shards), stop=lambda: next(asked) == first)
    if not end.done:
        engine.write()


if __name__ == "__main__":
    die_with_parent()
    for path in sorted(Path(sys.argv[1]).glob("*.json")):
        run(TrainingJob.from_json(path.read_text()))
