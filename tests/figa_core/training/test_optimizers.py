"""Which parameters decay, and what an optimizer gets of the settings."""

import torch
from torch import nn

from figa_core.config import OptimizerConfig
from figa_core.training.optimizers import optimizer_of, parameter_groups

MODEL = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3), nn.Linear(3, 2))


def test_without_decay_all_parameters_are_one_group() -> None:
    [group] = parameter_groups(MODEL.parameters(), 0.0)
    assert list(map(id, group["params"])) == list(map(id, MODEL.parameters()))
    assert group["weight_decay"] == 0.0


def test_matrices_decay_and_vectors_do_not() -> None:
    matrices, vectors = parameter_groups(MODEL.parameters(), 0.1)
    assert [tuple(p.shape) for p in matrices["params"]] == [(5, 3), (2, 3)]
    assert [tuple(p.shape) for p in vectors["params"]] == [(3,), (3,), (2,)]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)


def test_a_part_of_a_matrix_is_a_matrix() -> None:
    part = nn.Parameter(torch.zeros(4))
    part.ds_shape = torch.Size((4, 2))  # pyright: ignore[reportAttributeAccessIssue]
    [group] = parameter_groups([part], 0.1)
    assert group["weight_decay"] == 0.1


def test_a_model_without_vectors_has_one_group() -> None:
    assert len(parameter_groups([nn.Parameter(torch.zeros(2, 2))], 0.1)) == 1


def test_the_optimizer_has_the_settings() -> None:
    settings = OptimizerConfig(beta1=0.8, beta2=0.95, epsilon=1e-6)
    optimizer = optimizer_of(settings)(parameter_groups(MODEL.parameters(), 0.1), 3e-4)
    assert isinstance(optimizer, torch.optim.AdamW)
    for group, decay in zip(optimizer.param_groups, (0.1, 0.0), strict=True):
        assert (group["betas"], group["eps"], group["lr"]) == ((0.8, 0.95), 1e-6, 3e-4)
        assert group["weight_decay"] == decay
