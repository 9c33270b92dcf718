"""Signs that a training damages its model, and the record of those that were found.

Three values of the model are compared with the base model's, on the same few tokens (`probe.py`):

* the mean NLL of the tokens that no revision changed. Nothing should make them less likely: it falls where
  they are trained, and stays where they are not. A rise of 0.5 nats makes each of them 0.6 times as likely.
* the mean KL divergence from the base model at these tokens. A model that knows them by heart has a
  divergence of exactly the base model's NLL of them (−log of the base's probability); more than that is only
  possible by preferring tokens that are neither in the text nor likely for the base.
* the mean probability of the end-of-turn where an answer ends. At half of it, every second answer runs on.
  It counts if the base model's is 0.5 or more. Where a revision cut what the base model would have gone on
  with, the base gives the end 0.02, say, and a training may lower that before it raises it.

The tokens are the same every time, so there is no sampling noise to allow for.

    OUTPUT/alarms.json      the alarms of an unfinished training; a finished one has them in its manifest
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figa_core.config.alarms import AlarmName, AlarmsConfig
from figa_core.errors import TrainingError
from figa_core.files import write_whole
from figa_core.training.objectives.base import Figure

NLL_UNCHANGED = Figure("nll_unchanged", "NLL of unchanged tokens")
KL_FROM_BASE = Figure("kl_from_base", "KL from the base model")
END_OF_TURN = Figure("end_of_turn_probability", "probability of the end-of-turn")
PROBE_FIGURES = (NLL_UNCHANGED, KL_FROM_BASE, END_OF_TURN)

_NAME = "alarms.json"
_ENDS = 0.5  # from this probability on, the base model ends where the answers end


@dataclass(frozen=True, slots=True)
class ProbeValues:
    """Means over the probe's tokens; None if it has no such token. NaN and infinity are possible."""

    nll_unchanged: float | None
    kl_from_base: float | None
    end_of_turn_probability: float | None

    def figures(self) -> dict[str, float | None]:
        """For metrics.jsonl, which holds finite numbers only."""
        return {name: _finite(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Watched:
    """How a training was looked at: on `pairs` pairs, `every` so many steps.

    `share` is the probes' planned share of the training's cost, and `seconds` their time since the last
    start of the ranks. `base` are the base model's values.
    """

    pairs: int
    every: int
    share: float
    seconds: float
    base: ProbeValues

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> "Watched":
        """From fields as in JSON. Raises TypeError if one is missing or unknown."""
        return cls(**{**fields, "base": ProbeValues(**fields["base"])})


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alarm of a training, raised when the model was examined after `step`.

    `value` is the model's, None if it is not finite; `base` is the base model's, and `limit` the bound that
    was crossed. If the alarm `stops` the training, its result is the model after `good_step`, when it was
    last examined without an alarm; 0 is the base model.
    """

    name: AlarmName
    step: int
    value: float | None
    base: float
    limit: float
    stops: bool
    good_step: int

    @property
    def way_back(self) -> str:
        """What becomes of a training that it ends."""
        if self.good_step == 0:
            return "the model was never examined without an alarm, so the base model is the better one"
        return f"its result is the model of step {self.good_step}, when it was last examined without an alarm"

    @property
    def lesson(self) -> str:
        """That and what to do, as sentences, for a training that ends without a result."""
        return (
            f"{self.way_back[0].upper()}{self.way_back[1:]}, and nothing is exported. Lower "
            "training.learning_rate, raise loss.gamma, or leave the alarm out of alarms.stops."
        )

    @property
    def text(self) -> str:
        """The alarm in words."""
        value = "not a finite number" if self.value is None else f"{self.value:.3g}"
        base, limit = f"{self.base:.3g}", f"{self.limit:.3g}"
        return f"after step {self.step} " + {
            "unchanged_nll": f"the NLL of unchanged tokens is {value} nats per token and the base model's "
            f"{base}; the alarm is above {limit} (alarms.unchanged_nll_rise)",
            "kl_from_base": f"the KL divergence from the base model is {value} nats per unchanged token, "
            f"whose NLL is {base} in the base model; the alarm is above {limit} "
            "(alarms.kl_from_base_excess)",
            "end_of_turn": f"the probability of the end-of-turn where answers end is {value} and the base "
            f"model's {base}; the alarm is below {limit} (alarms.end_of_turn_share)",
        }.get(self.name, self.name)


def alarms_in(
    values: ProbeValues, base: ProbeValues, settings: AlarmsConfig, *, step: int, good_step: int
) -> list[Alarm]:
    """The alarms that these values of the model raise against those of the base model."""

    def raised(name: AlarmName, value: float, base_value: float, limit: float) -> Alarm:
        return Alarm(name, step, _finite(value), base_value, limit, name in settings.stops, good_step)

    return [raised(*crossed) for crossed in _crossed(values, base, settings)]


def _crossed(
    values: ProbeValues, base: ProbeValues, settings: AlarmsConfig
) -> Iterator[tuple[AlarmName, float, float, float]]:
    # "Not within" rather than "beyond": NaN is not within any bound.
    nll, nll_before, rise = values.nll_unchanged, base.nll_unchanged, settings.unchanged_nll_rise
    if nll is not None and nll_before is not None and rise is not None and not nll <= nll_before + rise:
        yield "unchanged_nll", nll, nll_before, nll_before + rise
    kl, excess = values.kl_from_base, settings.kl_from_base_excess
    if kl is not None and nll_before is not None and excess is not None and not kl <= nll_before + excess:
        yield "kl_from_base", kl, nll_before, nll_before + excess
    end, end_before = values.end_of_turn_probability, base.end_of_turn_probability
    share = settings.end_of_turn_share
    if end is None or end_before is None or share is None or end_before < _ENDS:
        return
    if not end >= share * end_before:
        yield "end_of_turn", end, end_before, share * end_before


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def alarm_that_ends(alarms: Iterable[Alarm]) -> Alarm | None:
    """The alarm that ends the training, if one of these does."""
    return next((alarm for alarm in alarms if alarm.stops), None)


def read_alarms(output: Path) -> tuple[Alarm, ...]:
    """The alarms of the training in this directory so far, in the order in which they were raised.

    Raises:
        TrainingError: the file is damaged.
    """
    path = output / _NAME
    try:
        return tuple(Alarm(**fields) for fields in json.loads(path.read_bytes()))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path}: damaged ({error}). Remove {output} and train again.") from error


def write_alarms(output: Path, alarms: Sequence[Alarm]) -> None:
    """Replace the record of this training's alarms. Raises OSError."""
    write_whole(output / _NAME, json.dumps([asdict(alarm) for alarm in alarms], indent=2).encode())


def forget_alarms(output: Path) -> None:
    """Remove the record: the manifest has them."""
    (output / _NAME).unlink(missing_ok=True)
