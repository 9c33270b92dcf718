"""What the worker changes in lm-eval's settings for vLLM."""

from typing import Any

import pytest

from figa_core.harness.worker import greedy_unless_told


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [
        ({"until": ["\n"]}, {"until": ["\n"], "do_sample": False}),
        ({"do_sample": None}, {"do_sample": False}),
        ({"temperature": 0.7}, {"temperature": 0.7}),
        ({"do_sample": True, "temperature": 0.7}, {"do_sample": True, "temperature": 0.7}),
    ],
)
def test_a_task_that_says_nothing_of_sampling_is_greedy_and_others_are_as_they_say(
    said: dict[str, Any], passed_on: dict[str, Any]
) -> None:
    before = dict(said)
    changed = greedy_unless_told(lambda settings, *rest, **named: (settings, rest, named))
    assert changed(said, "eos", default_max_gen_toks=9) == (passed_on, ("eos",), {"default_max_gen_toks": 9})
    assert said == before
