"""Looks at the pairs that are kept apart, by forward passes of all ranks; `held_out.py` says what follows.

The loss on them is the objective's own, divided as that of a step. Not every objective's ranks models: FIGA's
jumps up when a negative token passes the gate, and DFT's falls to 0 with the probability of the answers. Then
it is the mean NLL of the tokens that the reviser put into Ỹ, plus that of its unchanged ones (`AnswerNll`).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from figa_core.records import EditClass
from figa_core.training.batches import StepPlan
from figa_core.training.held_out import BEFORE, HELD_OUT_LOSS, Look, best_of, out_of_patience
from figa_core.training.job import TrainingJob
from figa_core.training.micro_batch import MicroBatch
from figa_core.training.objectives.base import Answer, ClassTables, Figure, Objective, Predictions, Terms
from figa_core.training.terms import terms_of, totals_of

_EDITED, _UNCHANGED = Figure("edited", ""), Figure("unchanged", "")
_KEPT, _OTHER = 1.0, 2.0  # weights that tell the classes apart


class AnswerNll(Objective):
    """Mean NLL of the edited tokens of an answer, end of turn included, plus that of its unchanged ones.

    Each kind has its own mean, so that few edits count as much as many unchanged tokens.
    """

    name, label = "answer_nll", "NLL"
    figures = (_EDITED, _UNCHANGED)

    def __init__(self, judged: Objective) -> None:
        super().__init__(judged.loss)
        answer: Answer = "revision" if "revision" in judged.answers else judged.answers[0]
        self.answers = (answer,)  # pyright: ignore[reportAttributeAccessIssue]

    def class_tables(self, _answer: Answer, /) -> ClassTables:
        weights = np.full(len(EditClass), _OTHER, dtype=np.float32)
        weights[EditClass.KEPT] = _KEPT
        return ClassTables(weights, np.ones(len(EditClass), dtype=np.bool_))

    def terms(self, predictions: Predictions) -> Terms:
        nll_K, unchanged_K = predictions.nll_K, predictions.weights_K == _KEPT
        figures = {
            figure.name: (nll_K[chosen_K].sum(), chosen_K.sum())
            for figure, chosen_K in ((_EDITED, ~unchanged_K), (_UNCHANGED, unchanged_K))
        }
        return Terms(nll_K.sum(), figures)


def measure_of(objective: Objective) -> Objective:
    """What the held-out pairs of a training with this objective are judged by."""
    return objective if objective.ranks_models else AnswerNll(objective)


class Reads(Protocol):
    """What a judge needs of an engine; see `ZeroEngine`."""

    def logits_to_read(self, batch: MicroBatch, /) -> torch.Tensor: ...
    def tensor(self, array: np.ndarray, /) -> torch.Tensor: ...
    def total(self, *values: float) -> list[float]: ...


class Judge:
    """Of one rank. `plan` is its share of all held-out pairs by `measure`; without one, it never looks.

    `looks` are those before a resumption.
    """

    def __init__(
        self,
        job: TrainingJob,
        engine: Reads,
        plan: StepPlan | None,
        measure: Objective,
        looks: Sequence[Look] = (),
    ) -> None:
        self._job, self._engine, self._plan, self._measure = job, engine, plan, measure
        self._settings = job.training.held_out
        self._looks = [*looks]

    @property
    def ended(self) -> bool:
        """Whether the training is to end, because the loss got no lower."""
        return self._plan is not None and out_of_patience(self._looks, self._settings.patience)

    def result_step(self, step: int) -> int:
        """The step of the result, if the training ended after this one."""
        best = best_of(self._looks) if self._settings.result == "best" else None
        return best.step if self._plan is not None and best else step

    def before(self) -> dict[str, float | None]:
        """Look at the pairs before the first step; returns what was found, for the first step's metrics."""
        return {} if self._plan is None else {BEFORE: _finite(self.loss())}

    def figures(self, step: int) -> dict[str, float | None]:
        """Look at the pairs after this step if it is time; returns what was found, for the step's metrics."""
        due = step % self._settings.every_steps == 0 or step == self._job.steps
        if self._plan is None or not due:
            return {}
        loss = self.loss()
        self._looks.append(Look(step, loss))
        return {HELD_OUT_LOSS.name: _finite(loss)}

    @torch.no_grad()
    def loss(self) -> float:
        """The loss on the pairs now, the same on all ranks; infinite if it is not finite."""
        assert self._plan is not None
        engine, measure = self._engine, self._measure
        terms = [
            terms_of(engine.logits_to_read(batch), batch, measure, engine.tensor)
            for batch in self._plan.micro_batches
        ]
        loss, *figures = engine.total(*totals_of(measure, terms))
        if isinstance(measure, AnswerNll):
            found = sum(
                total / count for total, count in zip(figures[::2], figures[1::2], strict=True) if count
            )
        else:
            found = loss / max(self._plan.counted, 1)
        return found if math.isfinite(found) else math.inf


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
