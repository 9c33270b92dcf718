"""Watches a training: examines the model when the plan says so, and raises the alarms.

Rank 0 writes them down and tells them; all ranks come to the same decisions from the same totals.
"""

import logging
import time
from collections.abc import Callable

from figa_core.processes.tell import tell
from figa_core.training.alarms import (
    Alarm,
    Watched,
    alarm_that_ends,
    alarms_in,
    read_alarms,
    write_alarms,
)
from figa_core.training.data import PairData
from figa_core.training.engine import ZeroEngine
from figa_core.training.going_back import goes_back, steps_to_do
from figa_core.training.job import TrainingJob
from figa_core.training.objectives.base import Objective
from figa_core.training.probe import Probe
from figa_core.training.probe_plan import COST_MAX


class Watch:
    """Of one rank; create it before the engine loads a checkpoint.

    If the training goes back to an earlier step (`going_back.py`), that is the `last_step`, and the steps up
    to it are repeated without examining the model again.
    """

    def __init__(
        self,
        job: TrainingJob,
        engine: ZeroEngine,
        data: PairData,
        objective: Objective,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._job, self._engine, self._clock = job, engine, clock
        begun = clock()
        self.alarms = read_alarms(job.output)
        self.last_step = steps_to_do(job)
        self._probe = None if goes_back(job) else Probe(job, engine, data, objective)
        self.seconds = clock() - begun
        if self._probe is not None and engine.rank == 0:
            tell(_plan_line(self._probe))

    @property
    def ended(self) -> bool:
        """Whether an alarm has ended the training since the ranks started."""
        return self._probe is not None and alarm_that_ends(self.alarms) is not None

    def record(self) -> Watched | None:
        """For the manifest; None if the model was not examined."""
        if self._probe is None or (plan := self._probe.plan) is None:
            return None
        return Watched(len(plan.pairs), plan.every, plan.share, round(self.seconds, 3), self._probe.base)

    def figures(self, step: int) -> dict[str, float | None]:
        """Examine the model after this step if it is due; returns what was found, for the step's metrics."""
        if self._probe is None or self._probe.plan is None or not self._probe.plan.due(step):
            return {}
        begun = self._clock()
        values = self._probe.values()
        good_step = self._probe.plan.last_before(step)
        found = alarms_in(values, self._probe.base, self._job.alarms, step=step, good_step=good_step)
        self._raise([alarm for alarm in found if alarm.name not in {known.name for known in self.alarms}])
        self.seconds += self._clock() - begun
        return values.figures()

    def good_step(self, step: int) -> int:
        """The last step up to this one that an alarm could go back to."""
        plan = self._probe.plan if self._probe else None
        return step if plan is None else plan.last_before(step + 1)

    def _raise(self, new: list[Alarm]) -> None:
        if not new:
            return
        self.alarms = (*self.alarms, *new)
        if self._engine.rank == 0:
            write_alarms(self._job.output, self.alarms)
            for alarm in new:
                tell(f"alarm: {alarm.text}", logging.WARNING)


def _plan_line(probe: Probe) -> str:
    plan = probe.plan
    if plan is None:
        return (
            f"no alarms in this training: it is too short to examine its model within {COST_MAX:.0%} of "
            "its cost"
        )
    steps = "step" if plan.every == 1 else f"{plan.every} steps"
    return (
        f"the model is examined for damage every {steps} on {len(plan.pairs)} pair(s), "
        f"{plan.share:.1%} of the training's cost"
    )
