"""When a training raises an alarm, and which alarms end it."""

from typing import Literal

from figa_core.config.decisions import models
from figa_core.config.section import Section

AlarmName = Literal["unchanged_nll", "kl_from_base", "end_of_turn"]


class AlarmsConfig(Section):
    """Signs that a training damages the model, looked for on a few pairs; "none" switches an alarm off."""

    unchanged_nll_rise: float | None = models(
        0.5,
        "Alarm if the NLL of the tokens that no revision changed rises above the base model's by more than "
        'this, in nats per token; "none" for no such alarm.',
        gt=0,
    )
    kl_from_base_excess: float | None = models(
        1.0,
        "Alarm if the KL divergence from the base model at these tokens is above the base's NLL of them by "
        'more than this, in nats per token; "none" for no such alarm.',
        gt=0,
    )
    end_of_turn_share: float | None = models(
        0.5,
        "Alarm if the probability of the end-of-turn where answers end falls below this share of the base "
        'model\'s, and that is 0.5 or more; "none" for no such alarm.',
        gt=0,
        lt=1,
    )
    stops: tuple[AlarmName, ...] = models(
        ("unchanged_nll", "kl_from_base", "end_of_turn"),
        "Alarms that end the training; its result is the model as it last was without an alarm.",
    )
