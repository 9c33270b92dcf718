"""A training engine of one rank in this process, with PyTorch alone: starting real ranks takes seconds."""

from pathlib import Path
from typing import Any

import torch

from figa_core.training.data import PairData
from figa_core.training.engine import Update
from figa_core.training.job import TrainingJob
from figa_core.training.loop import TrainingEnd, train
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.model import load_model, parameters_of
from figa_core.training.optimizers import optimizer_of, parameter_groups
from figa_core.training.probe_plan import Size
from figa_core.training.selection import select_pairs
from tests.figa_core.training.jobs import PlainEngine


class OneRank(PlainEngine):
    """What `loop.train` needs of a `ZeroEngine`, for one rank and padded rows."""

    rank, ranks, packs, shares, max_positions = 0, 1, False, False, None

    def __init__(self, job: TrainingJob) -> None:
        self.model = load_model(job.model).train()
        super().__init__(self.model)
        self.vocabulary: int = self.model.get_input_embeddings().num_embeddings
        settings = job.training.optimizer
        groups = parameter_groups(self.model.parameters(), settings.weight_decay)
        self._optimizer = optimizer_of(settings)(groups, job.learning_rate)
        self._optimizer.zero_grad()

    @torch.no_grad()
    def logits_to_read(self, batch: MicroBatch) -> torch.Tensor:
        return self.logits(batch)

    def size(self) -> Size:
        head = parameters_of(self.model.get_output_embeddings())
        return Size(body=parameters_of(self.model) - head, head=head)

    def step(self, learning_rate: float) -> Update:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return Update(applied=True)

    def total(self, *values: float) -> list[float]:
        return list(values)

    def barrier(self) -> None: ...

    def save_state(self, directory: Path, tag: str) -> list[Path]:
        (directory / tag).mkdir(exist_ok=True)
        state = {"model": self.model.state_dict(), "optimizer": self._optimizer.state_dict()}
        torch.save(state, directory / tag / "state.pt")
        return [directory / tag / "state.pt"]

    def load_state(self, directory: Path, tag: str, *, same_layout: bool = True) -> None:
        state = torch.load(directory / tag / "state.pt")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])


def train_here(job: TrainingJob, **how: Any) -> tuple[TrainingEnd, OneRank]:
    """Train, from the last checkpoint if there is one."""
    job.output.mkdir(parents=True, exist_ok=True)
    engine: Any = OneRank(job)
    chosen = select_pairs(job)
    apart = None if chosen.apart is None else PairData(job.shards, drawn=chosen.apart)
    return train(job, engine, PairData(job.shards, drawn=chosen.trained), apart=apart, **how), engine
