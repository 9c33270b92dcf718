"""Which values of a model raise an alarm, what it says, and how a training remembers it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.config.alarms import AlarmsConfig
from figa_core.errors import TrainingError
from figa_core.training.alarms import (
    Alarm,
    ProbeValues,
    alarm_that_ends,
    alarms_in,
    forget_alarms,
    read_alarms,
    write_alarms,
)

BASE = ProbeValues(nll_unchanged=0.4, kl_from_base=0.0, end_of_turn_probability=0.9)
DEFAULTS = AlarmsConfig()
OFF = AlarmsConfig(unchanged_nll_rise=None, kl_from_base_excess=None, end_of_turn_share=None)


def raised(values: ProbeValues, settings: AlarmsConfig = DEFAULTS) -> list[Alarm]:
    return alarms_in(values, BASE, settings, step=30, good_step=20)


def names(values: ProbeValues, settings: AlarmsConfig = DEFAULTS) -> list[str]:
    return [alarm.name for alarm in raised(values, settings)]


def test_a_model_at_the_bounds_raises_none_and_beyond_each_bound_it_raises_that_one() -> None:
    at = ProbeValues(nll_unchanged=0.4 + 0.5, kl_from_base=0.4 + 1.0, end_of_turn_probability=0.5 * 0.9)
    assert names(BASE) == names(at) == []
    assert names(replace(at, nll_unchanged=0.901)) == ["unchanged_nll"]
    assert names(replace(at, kl_from_base=1.401)) == ["kl_from_base"]
    assert names(replace(at, end_of_turn_probability=0.449)) == ["end_of_turn"]


def test_where_the_base_model_does_not_end_nothing_can_collapse() -> None:
    """As where a revision cut what the base model would have gone on with."""
    for before, expected in ((0.02, []), (0.49, []), (0.5, ["end_of_turn"])):
        base = replace(BASE, end_of_turn_probability=before)
        now = replace(BASE, end_of_turn_probability=0.3 * before)
        assert [alarm.name for alarm in alarms_in(now, base, DEFAULTS, step=4, good_step=0)] == expected


def test_a_model_that_knows_the_tokens_by_heart_raises_none() -> None:
    """Its KL divergence is the base model's NLL of them, however large that is."""
    base = ProbeValues(nll_unchanged=5.0, kl_from_base=0.0, end_of_turn_probability=0.1)
    assert alarms_in(ProbeValues(0.0, 5.0, 1.0), base, DEFAULTS, step=1, good_step=0) == []


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_raises_an_alarm(value: float) -> None:
    found = raised(ProbeValues(value, value, math.nan))
    assert [alarm.name for alarm in found] == ["unchanged_nll", "kl_from_base", "end_of_turn"]
    assert all(alarm.value is None and "not a finite number" in alarm.text for alarm in found)
    assert ProbeValues(value, value, math.nan).figures() == dict.fromkeys(BASE.figures())


def test_an_alarm_can_be_switched_off_and_so_can_its_end_of_the_training() -> None:
    worst = ProbeValues(9.0, 9.0, 0.0)
    assert names(worst, OFF) == []
    found = raised(worst, AlarmsConfig(stops=("end_of_turn",)))
    assert [alarm.stops for alarm in found] == [False, False, True]
    assert alarm_that_ends(found) == found[2]
    assert alarm_that_ends(found[:2]) is None
    assert all(alarm.stops for alarm in raised(worst)), "by default all of them end it"


def test_tokens_that_the_probe_lacks_raise_none() -> None:
    assert names(ProbeValues(None, None, None)) == []


def test_an_alarm_says_value_bound_setting_and_what_becomes_of_the_training() -> None:
    rise, divergence, end = raised(ProbeValues(2.3, 3.2, 0.05))
    assert rise.text == (
        "after step 30 the NLL of unchanged tokens is 2.3 nats per token and the base model's 0.4; the alarm "
        "is above 0.9 (alarms.unchanged_nll_rise)"
    )
    assert "is 3.2 nats" in divergence.text
    assert "above 1.4 (alarms.kl_from_base_excess)" in divergence.text
    assert "is 0.05 and the base model's 0.9; the alarm is below 0.45 (alarms.end_of_turn_share)" in end.text
    assert "the model of step 20" in rise.way_back
    assert "the base model is the better one" in replace(rise, good_step=0).way_back


def test_a_training_remembers_its_alarms(tmp_path: Path) -> None:
    assert read_alarms(tmp_path) == ()
    alarms = raised(ProbeValues(9.0, math.nan, 0.0), AlarmsConfig(stops=("kl_from_base",)))
    write_alarms(tmp_path, alarms[:1])
    assert alarm_that_ends(read_alarms(tmp_path)) is None
    write_alarms(tmp_path, alarms)
    assert read_alarms(tmp_path) == tuple(alarms)
    assert alarm_that_ends(read_alarms(tmp_path)) == alarms[1]
    forget_alarms(tmp_path)
    forget_alarms(tmp_path)
    assert read_alarms(tmp_path) == ()


@pytest.mark.parametrize("text", ["", "{", '[{"name": "kl"}]', "[1]", "5"])
def test_a_damaged_record_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "alarms.json").write_text(text)
    with pytest.raises(TrainingError, match=r"alarms\.json: damaged .* train again"):
        read_alarms(tmp_path)
