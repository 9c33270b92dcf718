"""Damage that shows in held-out answers and scores, each kind by making it happen."""

from dataclasses import replace

import pytest

from figa_core.evaluation.alarms import Judged, evaluation_alarms

PROMPTS = [f"prompt-{number}" for number in range(40)]


def spread(mean: float, width: float = 0.2) -> dict[str, float]:
    """Values around a mean, the same for every model but for the mean."""
    return {
        prompt: mean * (1 + width * (-1) ** number) + 0.01 * number for number, prompt in enumerate(PROMPTS)
    }


def shifted(values: dict[str, float], by: float, noise: float = 0.02) -> dict[str, float]:
    return {prompt: values[prompt] + by + noise * (number % 5 - 2) for number, prompt in enumerate(PROMPTS)}


BASE = Judged(lengths=spread(60), entropies=spread(5), rewards=spread(1), verifier=spread(0.6))
BETTER = replace(
    BASE,
    lengths=shifted(spread(60), 6, noise=1),
    rewards=shifted(spread(1), 0.5),
    verifier=shifted(spread(0.6), 0.1),
)
LEARNED = [1.0] * 10 + [0.5] * 80 + [0.4] * 10
VANISHED = [1.0] * 10 + [0.5] * 80 + [0.01] * 10


def names(trained: Judged, losses: list[float] = LEARNED, base: Judged = BASE) -> list[str]:
    return [alarm.name for alarm in evaluation_alarms(base, trained, losses)]


def test_a_better_model_raises_none_also_if_its_loss_has_vanished() -> None:
    assert names(BETTER) == names(BETTER, VANISHED) == names(BASE) == []


@pytest.mark.parametrize(("factor", "expected"), [(1.9, []), (0.55, []), (2.2, ["response_length"])])
def test_answers_that_run_on_or_stop_at_once_raise_an_alarm(factor: float, expected: list[str]) -> None:
    longer = {prompt: length * factor for prompt, length in BASE.lengths.items()}
    assert names(replace(BETTER, lengths=longer)) == expected
    if expected:
        shorter = {prompt: length / factor for prompt, length in BASE.lengths.items()}
        assert names(replace(BETTER, lengths=shorter)) == expected


def test_one_answer_that_runs_on_is_chance() -> None:
    lengths = {**BASE.lengths, PROMPTS[0]: 5000.0}
    assert sum(lengths.values()) > 2 * sum(BASE.lengths.values())
    assert names(replace(BETTER, lengths=lengths)) == []


def test_answers_that_repeat_themselves_raise_an_alarm() -> None:
    assert names(replace(BETTER, entropies=shifted(spread(5), -3))) == ["response_entropy"]
    assert names(replace(BETTER, entropies=shifted(spread(5), -2))) == []


def test_a_vanished_loss_without_a_higher_reward_raises_an_alarm() -> None:
    flat = replace(BETTER, rewards=shifted(spread(1), 0.0))
    assert names(flat, VANISHED) == ["flat_reward"]
    assert names(flat, LEARNED) == []
    assert names(flat, [-loss for loss in VANISHED]) == ["flat_reward"], "losses may be negative"
    assert names(flat, []) == names(flat, [0.0, 0.0]) == [], "nothing is known of its loss"
    [alarm] = evaluation_alarms(BASE, flat, VANISHED)
    assert "its loss went from 1 to 0.01, and its mean reward did not rise (+0.00, 95 % CI" in alarm.text


def test_a_verifier_that_falls_while_the_reward_rises_raises_an_alarm() -> None:
    exploiting = replace(BETTER, verifier=shifted(spread(0.6), -0.2))
    assert names(exploiting) == ["verifier_falls"]
    assert names(replace(exploiting, rewards=shifted(spread(1), -0.5))) == [], "both fall: a worse model"
    [alarm] = evaluation_alarms(BASE, exploiting, LEARNED)
    assert "its mean reward rose (+0.50" in alarm.text
    assert "the verifier's mean fell (-20.00" in alarm.text


def test_models_are_compared_on_the_prompts_that_both_have() -> None:
    one = replace(BETTER, lengths={PROMPTS[0]: 900.0, "another": 1.0})
    assert names(one) == [], "one prompt has no interval"
    assert names(Judged({}, {}, {}, {}), VANISHED) == []
