"""Muon for matrices and AdamW for the rest, with one schedule: the sandbox's models learn in a minute.

Shape legend: N matrices of one shape stacked, R rows, C columns with R ≤ C.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_LEARNING_RATE = 3e-3  # AdamW's; Muon's is a multiple of it
_MOMENTUM = 0.95
_NEWTON_SCHULZ_STEPS = 4
_MUON_RATE_FACTOR = 5.0
_WARMUP_STEPS = 20
_DECAY_FROM = 0.4
_FLOOR = 0.02


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised by Newton–Schulz iterations (Jordan et al. 2024), in float32.

    torch.optim.Muon iterates in bfloat16, matrix by matrix, which is slow on a CPU. Here the matrices of one
    parameter group have one shape, up to transposition, and are iterated together.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        for group in self.param_groups:
            update_NRC = torch.stack([_wide(self._momentum(parameter)) for parameter in group["params"]])
            for parameter, change_RC in zip(group["params"], _orthogonalised(update_NRC), strict=True):
                rows, columns = parameter.shape
                change = change_RC if rows <= columns else change_RC.T
                parameter.add_(change, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _momentum(self, parameter: nn.Parameter) -> Tensor:
        assert parameter.grad is not None
        momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        momentum.mul_(_MOMENTUM).add_(parameter.grad)
        return parameter.grad + _MOMENTUM * momentum


def _wide(matrix: Tensor) -> Tensor:
    return matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T


def _orthogonalised(matrices_NRC: Tensor) -> Tensor:
    """The singular values of each matrix moved near 1 (quintic Newton–Schulz)."""
    result_NRC = matrices_NRC / (matrices_NRC.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram_NRR = result_NRC @ result_NRC.mT
        polynomial_NRR = -4.7750 * gram_NRR + 2.0315 * gram_NRR @ gram_NRR
        result_NRC = 3.4445 * result_NRC + polynomial_NRR @ result_NRC
    return result_NRC


class Trainer:
    """Both optimizers behind one step: clips the gradient, follows warm-up and linear decay."""

    def __init__(self, model: nn.Module, extra: Iterable[nn.Parameter], *, steps: int) -> None:
        """`extra` are parameters beside the model's."""
        self._parameters = [*model.parameters(), *extra]
        matrices: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for name, parameter in model.named_parameters():
            if ".layers." in name and parameter.ndim == 2:
                matrices.setdefault(tuple(sorted(parameter.shape)), []).append(parameter)
        chosen = {id(parameter) for group in matrices.values() for parameter in group}
        rest = [parameter for parameter in self._parameters if id(parameter) not in chosen]
        self._steps = steps
        self._step = 0
        self._rates = (_LEARNING_RATE * _MUON_RATE_FACTOR, _LEARNING_RATE)
        self._optimizers = (
            Muon([{"params": group} for group in matrices.values()], {"lr": self._rates[0]}),
            torch.optim.AdamW(rest, lr=_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=0.0),
        )

    @property
    def progress(self) -> float:
        """Share of the steps done, from 0 to 1."""
        return self._step / self._steps

    def step(self, loss: Tensor) -> None:
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0, error_if_nonfinite=True)
        warmup = min(1.0, (self._step + 1) / _WARMUP_STEPS)
        decay = 1.0 - max(0.0, self.progress - _DECAY_FROM) / (1.0 - _DECAY_FROM)
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * warmup * max(_FLOOR, decay)
            optimizer.step()
            optimizer.zero_grad()
        self._step += 1
