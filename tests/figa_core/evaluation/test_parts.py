"""The prompts that choose, and those that judge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.errors import EvaluationError
from figa_core.evaluation.parts import validation_part


@given(st.sets(st.integers(0, 99).map(str), min_size=2, max_size=12), st.floats(0.01, 0.99))
def test_both_parts_have_a_prompt_and_the_share_is_kept(prompts: set[str], share: float) -> None:
    chosen = validation_part(prompts, share)
    assert chosen < prompts
    assert chosen
    assert abs(len(chosen) - share * len(prompts)) <= 1


def test_the_part_depends_on_the_ids_only() -> None:
    prompts = [f"prompt-{number}" for number in range(20)]
    assert validation_part(prompts, 0.3) == validation_part(prompts[::-1], 0.3)
    assert len(validation_part(prompts, 0.3)) == 6


@pytest.mark.parametrize("prompts", [[], ["one"]])
def test_fewer_than_two_prompts_are_too_few(prompts: list[str]) -> None:
    with pytest.raises(EvaluationError, match=r"raise|Raise prompts\.held_out_share"):
        validation_part(prompts, 0.3)
