"""The device of a rank."""

import pytest
import torch

from figa_core.errors import TrainingError
from figa_core.training.engine import own_device


def test_without_a_gpu_all_ranks_are_on_the_cpu() -> None:
    assert {own_device(rank, gpus=0) for rank in range(3)} == {torch.device("cpu")}


def test_each_rank_of_a_machine_has_a_gpu_of_its_own() -> None:
    found = [own_device(rank, gpus=2) for rank in range(2)]
    assert found == [torch.device("cuda", 0), torch.device("cuda", 1)]


def test_a_rank_without_a_gpu_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"no GPU for rank 1: this machine shows 1.*processes to 1"):
        own_device(1, gpus=1)
