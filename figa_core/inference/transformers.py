"""Generation and scoring by transformers, in this process: the fallback where vLLM cannot be installed.

Requests are sorted by length within a window, so that a padded batch wastes little, and memory stays flat.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GenerationConfig
from transformers.utils import logging as transformers_logging

from figa_core.errors import EngineError, UnknownHeadError
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.exchange import in_shards
from figa_core.inference.row_checks import each_or_reason, problem_of
from figa_core.models.check import require_model
from figa_core.models.role import ModelRole
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest
from figa_core.records import FinishReason

_WINDOW_ROWS = 2000
# Below this many operations per forward pass, threads wait for each other longer than they work: that is
# twice as slow on a quiet machine, and ten times on a busy one.
_THREADED_FLOPS = 2.5e8
_NAMES_SHOWN = 3
# What PyTorch raises for a row that the model cannot take. Running out of memory is not the row's fault.
_ROW_ERRORS = (IndexError, ValueError)
_T = TypeVar("_T")
_Out = TypeVar("_Out")


class TransformersGenerator:
    """ports.Generator on transformers' `generate`."""

    def __init__(self, settings: Generating) -> None:
        """`settings.tokens_per_batch` bounds rows × (longest prompt + max_tokens) of one batch.

        Raises:
            EngineError: the model cannot be loaded whole, with everything that is wrong with it.
        """
        require_model(settings.model, ModelRole.POLICY)
        self._model = _load(AutoModelForCausalLM, settings.model)
        # The checkpoint's own (a repetition penalty, say) would apply besides the arguments below.
        self._model.generation_config = GenerationConfig()
        self._parameters = self._model.num_parameters()
        self._stops = sorted(settings.stop_token_ids)
        self._max_tokens, self._tokens_per_batch = settings.max_tokens, settings.tokens_per_batch
        self._sampling: dict[str, Any] = {
            "do_sample": False,
            "temperature": None,
            "top_p": None,
            "top_k": None,
        }
        if settings.temperature > 0:
            self._sampling = {
                "do_sample": True,
                "temperature": settings.temperature,
                "top_p": settings.top_p,
                "top_k": 0,
            }

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. Seeded per batch by its first request: repeatable for equal batches."""
        for batch in _batches(
            requests, lambda r: len(r.prompt_ids), self._tokens_per_batch, self._max_tokens
        ):
            read = [(r.request_id, r.prompt_ids) for r in batch]
            yield _outcomes(self._model, self._generate_batch, batch, read)

    @torch.inference_mode()
    def _generate_batch(self, batch: list[GenerationRequest]) -> list[Generation]:
        # Generation pads on the left, so that every row continues at the same position.
        ids_BT, mask_BT = _pad(
            [r.prompt_ids for r in batch], self._stops[0], left=True, device=self._model.device
        )
        device = self._model.device
        step_flops = 2.0 * self._parameters * len(batch)
        with torch.random.fork_rng([device] if device.type == "cuda" else []), _threads_for(step_flops):
            torch.manual_seed(batch[0].seed)
            out_BT = self._model.generate(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                max_new_tokens=self._max_tokens,
                eos_token_id=self._stops,
                pad_token_id=self._stops[0],
                **self._sampling,
            )
        rows = out_BT[:, ids_BT.shape[1] :].tolist()
        return [self._cut(request, row) for request, row in zip(batch, rows, strict=True)]

    def _cut(self, request: GenerationRequest, row: list[int]) -> Generation:
        end = next((i for i, token in enumerate(row) if token in self._stops), None)
        finish = FinishReason.LENGTH if end is None else FinishReason.STOP
        return Generation(request.request_id, tuple(row[:end]), finish)


class TransformersScorer:
    """ports.Scorer on a sequence classifier with one label; raw logits."""

    def __init__(self, settings: Scoring) -> None:
        """Raises EngineError unless the model is a whole classifier with one label and a linear head."""
        require_model(settings.model, ModelRole.REWARD)
        self._model = _load(AutoModelForSequenceClassification, settings.model)
        head = getattr(self._model, "score", None)
        if not isinstance(head, torch.nn.Module):
            raise UnknownHeadError(
                f'{settings.model}: the transformers engine knows decoders with a head named "score"; this '
                f'is a {type(self._model).__name__}. Set engine = "vllm".'
            )
        self._head = head.float()  # as vLLM does: bfloat16 would round the rewards to steps of 1/64
        self._pad_id = _padding(self._model)
        self._tokens_per_batch = settings.tokens_per_batch

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float] | RowFailure]]:
        """See `ports.Scorer`; batches are sorted by length."""
        for batch in _batches(requests, lambda r: len(r.token_ids), self._tokens_per_batch, 0):
            read = [(r.subject_id, r.token_ids) for r in batch]
            yield _outcomes(self._model, self._score_batch, batch, read)

    @torch.inference_mode()
    def _score_batch(self, batch: list[ScoringRequest]) -> list[tuple[str, float]]:
        ids_BT, mask_BT = _pad(
            [r.token_ids for r in batch],
            self._pad_id,
            left=False,
            device=self._model.device,
        )
        hidden_BTD = self._model.base_model(
            input_ids=ids_BT, attention_mask=mask_BT, use_cache=False
        ).last_hidden_state
        # The last real token is found by the mask: a pad id that also occurs in the text would mislead the
        # model's own search for it.
        last_B = mask_BT.sum(dim=1) - 1
        values_B = self._head(hidden_BTD[torch.arange(len(batch)), last_B].float()).squeeze(-1)
        return [(r.subject_id, value) for r, value in zip(batch, values_B.tolist(), strict=True)]


@contextmanager
def _threads_for(flops: float) -> Iterator[None]:
    """One thread for small forward passes, and as many as before for others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if flops < _THREADED_FLOPS else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def release_memory() -> None:
    """Free the GPU memory of models that are gone: torch would keep it for this process."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _padding(model: Any) -> int:
    """An id to pad with. Rows are padded on the right and masked, so any id with an embedding will do."""
    named = model.config.pad_token_id
    rows = model.get_input_embeddings().weight.shape[0]
    return named if isinstance(named, int) and 0 <= named < rows else 0


def _load(kind: Any, path: Path) -> Any:
    transformers_logging.disable_progress_bar()  # the run has its own
    try:
        model, loading = kind.from_pretrained(
            path,
            dtype="auto",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise EngineError(f"{path}: cannot load the model: {error}") from error
    if loading["missing_keys"]:  # transformers makes them up at random
        missing = ", ".join(sorted(loading["missing_keys"])[:_NAMES_SHOWN])
        raise EngineError(f"{path}: the checkpoint lacks weights ({missing}). Give a complete one.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval()


def _outcomes(
    model: Any,
    work: Callable[[list[_T]], list[_Out]],
    batch: list[_T],
    read: Sequence[tuple[str, Sequence[int]]],
) -> list[_Out | RowFailure]:
    """The results of `work` for the rows that `model` can read, and failures for the others.

    `read`: each row's name and the ids that the model reads, in the order of the batch.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    problems = [problem_of(ids, vocabulary=vocabulary) for _, ids in read]
    rows = list(zip(batch, read, problems, strict=True))
    failed = [RowFailure(name, problem) for _, (name, _), problem in rows if problem is not None]
    good = [(row, name) for row, (name, _), problem in rows if problem is None]
    outcomes = each_or_reason(work, [row for row, _ in good], _ROW_ERRORS)
    return failed + [
        RowFailure(name, outcome) if isinstance(outcome, str) else outcome
        for (_, name), outcome in zip(good, outcomes, strict=True)
    ]


def _batches(
    requests: Iterable[_T], length: Callable[[_T], int], tokens_per_batch: int, extra: int
) -> Iterator[list[_T]]:
    """Length-sorted batches of at most `tokens_per_batch` padded tokens (one row at least)."""
    for window in in_shards(requests, _WINDOW_ROWS):
        window.sort(key=length, reverse=True)
        start = 0
        while start < len(window):
            rows = max(1, tokens_per_batch // max(1, length(window[start]) + extra))
            yield window[start : start + rows]
            start += rows


def _pad(
    rows: Sequence[Sequence[int]], pad_id: int, *, left: bool, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """ids_BT and mask_BT, both int64 [B, T]."""
    width = max(map(len, rows))
    ids_BT = torch.full((len(rows), width), pad_id, dtype=torch.int64)
    mask_BT = torch.zeros_like(ids_BT)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids_BT[i, where] = torch.tensor(row, dtype=torch.int64)
        mask_BT[i, where] = 1
    return ids_BT.to(device), mask_BT.to(device)
