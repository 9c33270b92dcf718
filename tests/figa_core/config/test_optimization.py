"""The tables of `[training]`."""

import pytest
from pydantic import ValidationError

from figa_core.config import LoraConfig


def test_the_modules_of_lora_may_be_one_name_and_have_one_order() -> None:
    assert LoraConfig(target_modules="q_proj").target_modules == ("q_proj",)  # pyright: ignore[reportArgumentType]
    one = LoraConfig(target_modules=("v_proj", "q_proj"))
    assert one == LoraConfig(target_modules=("q_proj", "v_proj", "q_proj"))
    assert LoraConfig().target_modules == ("all-linear",)


@pytest.mark.parametrize("names", [[], [""]])
def test_lora_without_a_module_is_refused(names: list[str]) -> None:
    with pytest.raises(ValidationError):
        LoraConfig.model_validate({"target_modules": names})


def test_alpha_is_twice_the_rank_unless_it_is_given() -> None:
    assert LoraConfig(rank=8).scaled_by == 16
    assert LoraConfig(rank=8, alpha=4).scaled_by == 4
