"""The reference recipe: the arithmetic of the authors' public code as a plain PyTorch loop.

4 pairs in order of arrival make 8 rows, padded to the longest; edits are computed in the collator; the head
runs at every position; each micro-batch is divided by its own number of weighted tokens. Where there was a
choice, this uses the cheaper form: one cross entropy where the authors compute two, on flat logits that are
neither copied nor transposed and are freed before the backward pass.

Shapes: B rows, T tokens, V vocabulary. Rows alternate: revision, response.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import Levenshtein
import torch
from torch.nn import functional

from tests.benchmarks.bare_pairs import BarePair, Ids
from tests.benchmarks.models import END_ID, PAD_ID

PAIRS_PER_BATCH = 4
_IGNORED = -100


@dataclass(frozen=True, slots=True)
class Settings:
    """α, β and the gate as in `figa_core`; `python_loops` builds and gates the masks token by token."""

    alpha: float = 1.0
    beta: float = 0.5
    negative_nll_max: float | None = None
    python_loops: bool = False


class Rows(NamedTuple):
    """One padded micro-batch; `mask_BT` is 1 at positive tokens, −1 at negative ones, 0 elsewhere."""

    ids_BT: torch.Tensor
    attention_BT: torch.Tensor
    labels_BT: torch.Tensor
    mask_BT: torch.Tensor


def train_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    pairs: Sequence[BarePair],
    settings: Settings,
    device: torch.device,
) -> None:
    """One optimizer step over `pairs`."""
    batches = [pairs[i : i + PAIRS_PER_BATCH] for i in range(0, len(pairs), PAIRS_PER_BATCH)]
    for batch in batches:
        rows = Rows(*(tensor.to(device) for tensor in collate(batch, settings)))
        weighted_sum, count = weighted_loss(model, rows, settings)
        (weighted_sum / count / len(batches)).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def collate(pairs: Sequence[BarePair], settings: Settings) -> Rows:
    """Pad to the longest row and align the two answers of every pair."""
    sequences = [
        (pair.prompt_ids, answer) for pair in pairs for answer in (pair.revision_ids, pair.response_ids)
    ]
    longest = max(len(prompt) + len(answer) for prompt, answer in sequences)
    ids_BT = torch.full((len(sequences), longest), PAD_ID)
    labels_BT = torch.full_like(ids_BT, _IGNORED)
    attention_BT = torch.zeros_like(ids_BT)
    for row, (prompt, answer) in enumerate(sequences):
        ids = torch.tensor(prompt + answer)
        ids_BT[row, : len(ids)] = ids
        labels_BT[row, len(prompt) : len(ids)] = ids[len(prompt) :]
        attention_BT[row, : len(ids)] = 1
    build = _masks_by_loops if settings.python_loops else _masks
    return Rows(ids_BT, attention_BT, labels_BT, build(pairs, torch.zeros(ids_BT.shape)))


def edited_positions(response: Ids, revision: Ids) -> tuple[list[int], list[int]]:
    """Positions that are deleted or replaced in the response, and inserted or replaced in the revision."""
    operations = Levenshtein.editops(response, revision)
    return [i for kind, i, _ in operations if kind != "insert"], [
        j for kind, _, j in operations if kind != "delete"
    ]


def _masks(pairs: Sequence[BarePair], mask_BT: torch.Tensor) -> torch.Tensor:
    for place, pair in enumerate(pairs):
        removed, added = edited_positions(pair.response_ids, pair.revision_ids)
        start = len(pair.prompt_ids)
        end = len(pair.revision_ids) - 1
        mask_BT[2 * place, [start + j for j in (*added, end)]] = 1
        mask_BT[2 * place + 1, [start + i for i in removed]] = -1
    return mask_BT


def _masks_by_loops(pairs: Sequence[BarePair], mask_BT: torch.Tensor) -> torch.Tensor:
    for place, pair in enumerate(pairs):
        removed, added = edited_positions(pair.response_ids, pair.revision_ids)
        start = len(pair.prompt_ids)
        for j in added:
            mask_BT[2 * place][start + j] = 1
        revision = torch.tensor(pair.revision_ids)
        for j, token in enumerate(revision):
            if token == END_ID:
                mask_BT[2 * place][start + j] = 1
                break
        for i in removed:
            mask_BT[2 * place + 1][start + i] = -1
    return mask_BT


def weighted_loss(model: Any, rows: Rows, settings: Settings) -> tuple[torch.Tensor, torch.Tensor]:
    """Σ w · NLL of the micro-batch, and the number of its tokens with a weight after the gate."""
    nll_BT = token_nll(model, rows)
    gate = _gate_by_loops if settings.python_loops else _gate
    mask_BT = gate(rows.mask_BT, nll_BT.detach(), settings.negative_nll_max)
    # Nothing predicts the first token of a row.
    mask_BT = mask_BT[:, 1:]
    weights_BT = torch.where(mask_BT == 1, settings.alpha, torch.where(mask_BT == -1, -settings.beta, 0.0))
    return (weights_BT * nll_BT).sum(), (mask_BT != 0).sum()


def token_nll(model: Any, rows: Rows) -> torch.Tensor:
    """NLL of every label from the second token on, (B, T − 1), from full logits at every position."""
    logits_BTV = model(input_ids=rows.ids_BT, attention_mask=rows.attention_BT, use_cache=False).logits
    # Labels are shifted, not logits, so that the largest tensor is not copied.
    shifted_BT = functional.pad(rows.labels_BT[:, 1:], (0, 1), value=_IGNORED)
    nll = functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(), shifted_BT.flatten(), reduction="none", ignore_index=_IGNORED
    )
    return nll.view(shifted_BT.shape)[:, :-1]


def _gate(mask_BT: torch.Tensor, nll_BT: torch.Tensor, nll_max: float | None) -> torch.Tensor:
    if nll_max is None:
        return mask_BT
    gated_BT = (mask_BT == -1) & (functional.pad(nll_BT, (1, 0)) > nll_max)
    return torch.where(gated_BT, 0.0, mask_BT)


def _gate_by_loops(mask_BT: torch.Tensor, nll_BT: torch.Tensor, nll_max: float | None) -> torch.Tensor:
    gated_BT = nll_BT > (float("inf") if nll_max is None else nll_max)
    for row, values in enumerate(mask_BT[:, 1:]):
        for column, value in enumerate(values):
            if value == -1 and gated_BT[row][column] == 1:
                mask_BT[row][column + 1] = 0
    return mask_BT
