"""Generation and scoring by transformers, in this process.

Requests are sorted by length within a window, so that padding wastes little and memory stays constant.
"""

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, GenerationConfig
from transformers.utils import logging as transformers_logging

from figa_core.errors import EngineError, UnknownHeadError
from figa_core.inference.decoding import decode
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.exchange import in_shards
from figa_core.inference.row_checks import outcomes, problem_of
from figa_core.models.check import require_model
from figa_core.models.plain_reward import reward_offset
from figa_core.models.role import ModelRole
from figa_core.models.soft_capping import with_soft_capping
from figa_core.models.tokenizer import load_tokenizer
from figa_core.ports import Generation, GenerationRequest, RowFailure, ScoringRequest
from figa_core.records import FinishReason

_WINDOW_ROWS = 2000
# Below this many operations per forward pass, threads wait for each other longer than they work: twice as
# slow on a quiet machine, ten times on a busy one.
_THREADED_FLOPS = 2.5e8
# PyTorch's errors for a row that the model cannot process. Running out of memory is not the row's fault.
_ROW_ERRORS = (IndexError, ValueError)
_T = TypeVar("_T")
_Out = TypeVar("_Out")


class TransformersGenerator:
    """ports.Generator on transformers' `generate`."""

    def __init__(self, settings: Generating) -> None:
        """Raises EngineError with every problem if the model cannot be loaded whole."""
        require_model(settings.model, ModelRole.POLICY)
        self._model = _load(AutoModelForCausalLM, settings.model)
        # The checkpoint's config (a repetition penalty, say) would apply besides the arguments below.
        self._model.generation_config = GenerationConfig()
        self._parameters = self._model.num_parameters()
        self._stops = sorted(settings.stop_token_ids)
        self._max_tokens, self._tokens_per_batch = settings.max_tokens, settings.tokens_per_batch
        samples = settings.temperature > 0
        self._sampling: dict[str, Any] = {
            "do_sample": samples,
            "temperature": settings.temperature if samples else None,
            "top_p": settings.top_p if samples else None,
            "top_k": settings.top_k if samples else None,
            "min_p": settings.min_p or None if samples else None,
            "repetition_penalty": settings.repetition_penalty if settings.repetition_penalty != 1 else None,
        }
        self._ended = _stop_texts(settings.model, settings.stop) if settings.stop else None

    def generate(self, requests: Iterable[GenerationRequest]) -> Iterator[list[Generation | RowFailure]]:
        """See `ports.Generator`. The first request of a batch seeds it: repeatable for equal batches."""
        rows = ((r.request_id, r.prompt_ids, r) for r in requests)
        return _in_batches(self._model, self._generate_batch, rows, self._tokens_per_batch, self._max_tokens)

    @torch.inference_mode()
    def _generate_batch(self, batch: list[GenerationRequest]) -> list[Generation]:
        device = self._model.device
        # Generation pads on the left, so that every row continues at the same position.
        ids_BT, mask_BT = _pad([r.prompt_ids for r in batch], self._stops[0], "left", device)
        # A penalty on repetition would count the padding; a token of the prompt it counts already.
        ids_BT = torch.where(mask_BT == 1, ids_BT, ids_BT.new_tensor([[r.prompt_ids[0]] for r in batch]))
        step_flops = 2.0 * self._parameters * len(batch)
        with torch.random.fork_rng([device] if device.type == "cuda" else []), _threads_for(step_flops):
            torch.manual_seed(batch[0].seed)
            written = decode(
                self._model,
                ids_BT,
                mask_BT,
                max_tokens=self._max_tokens,
                stops=self._stops,
                ended=self._ended,
                **self._sampling,
            )
        return [
            Generation(request.request_id, tuple(row), self._finish(row))
            for request, row in zip(batch, written, strict=True)
        ]

    def _finish(self, row: list[int]) -> FinishReason:
        return FinishReason.LENGTH if len(row) == self._max_tokens else FinishReason.STOP


class TransformersScorer:
    """ports.Scorer on a sequence classifier with one label; raw logits."""

    def __init__(self, settings: Scoring) -> None:
        """Raises EngineError unless the model is a whole classifier with one label and a linear head."""
        require_model(settings.model, ModelRole.REWARD)
        self._model = _load(AutoModelForSequenceClassification, settings.model)
        head = getattr(self._model, "score", None)
        if not isinstance(head, torch.nn.Module):
            raise UnknownHeadError(
                f'{settings.model}: the transformers engine only scores decoders with a head named "score"; '
                f'this is a {type(self._model).__name__}. Set engine = "vllm".'
            )
        self._head = head.float()  # as vLLM does: bfloat16 would round the rewards to steps of 1/64
        self._offset = reward_offset(settings.model)
        self._pad_id = _padding(self._model)
        self._tokens_per_batch = settings.tokens_per_batch

    def score(self, requests: Iterable[ScoringRequest]) -> Iterator[list[tuple[str, float] | RowFailure]]:
        """See `ports.Scorer`; batches are sorted by length."""
        rows = ((r.subject_id, r.token_ids, r) for r in requests)
        return _in_batches(self._model, self._score_batch, rows, self._tokens_per_batch)

    @torch.inference_mode()
    def _score_batch(self, batch: list[ScoringRequest]) -> list[tuple[str, float]]:
        ids_BT, mask_BT = _pad([r.token_ids for r in batch], self._pad_id, "right", self._model.device)
        hidden_BTD = self._model.base_model(
            input_ids=ids_BT, attention_mask=mask_BT, use_cache=False
        ).last_hidden_state
        # The mask finds the last real token; the model's search would fail if the text contains the pad id.
        last_B = mask_BT.sum(dim=1) - 1
        values_B = self._head(hidden_BTD[torch.arange(len(batch)), last_B].float()).squeeze(-1)
        return [(r.subject_id, v + self._offset) for r, v in zip(batch, values_B.tolist(), strict=True)]


def _stop_texts(model: Path, stop: Sequence[str]) -> Callable[[list[int]], bool]:
    """Whether the text of these ids has one of the texts that end a sample."""
    tokenizer = load_tokenizer(model)

    def ended(token_ids: list[int]) -> bool:
        text = tokenizer.decode(token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return any(each in text for each in stop)

    return ended


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
    """Free the GPU memory of deleted models, which torch would keep for this process."""
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _padding(model: Any) -> int:
    """An id to pad with. Padding is masked, so any id with an embedding will do."""
    named = model.config.pad_token_id
    rows = model.get_input_embeddings().weight.shape[0]
    return named if isinstance(named, int) and 0 <= named < rows else 0


def _load(kind: Any, path: Path) -> Any:
    transformers_logging.disable_progress_bar()  # the run has one
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
    if loading["missing_keys"]:  # transformers would initialise them at random
        missing = ", ".join(sorted(loading["missing_keys"])[:3])
        raise EngineError(f"{path}: the checkpoint lacks weights ({missing}). Give a complete one.")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return with_soft_capping(model).to(device).eval()


def _in_batches(
    model: Any,
    work: Callable[[list[_T]], list[_Out]],
    requests: Iterable[tuple[str, Sequence[int], _T]],
    tokens_per_batch: int,
    tokens_written: int = 0,
) -> Iterator[list[_Out | RowFailure]]:
    """The results of `work` in batches of similar length, and failures for rows that `model` cannot read.

    A request comes with its id and the token ids that the model reads. A batch has one row at least, and
    else at most `tokens_per_batch` padded tokens.
    """
    vocabulary = model.get_input_embeddings().num_embeddings
    for window in in_shards(requests, _WINDOW_ROWS):
        window.sort(key=lambda row: len(row[1]), reverse=True)
        while window:
            longest = len(window[0][1]) + tokens_written
            rows = max(1, tokens_per_batch // max(1, longest))
            batch, window = window[:rows], window[rows:]
            problems = [problem_of(ids, vocabulary=vocabulary) for _, ids, _ in batch]
            found = outcomes(work, [request for _, _, request in batch], problems, _ROW_ERRORS)
            yield [
                RowFailure(row_id, outcome) if isinstance(outcome, str) else outcome
                for (row_id, _, _), outcome in zip(batch, found, strict=True)
            ]


def _pad(
    rows: Sequence[Sequence[int]], pad_id: int, side: str, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """ids_BT and mask_BT, both int64 [B, T]."""
    ids = [torch.tensor(row, dtype=torch.int64) for row in rows]
    ids_BT = pad_sequence(ids, batch_first=True, padding_value=pad_id, padding_side=side)
    mask_BT = pad_sequence([torch.ones_like(row) for row in ids], batch_first=True, padding_side=side)
    return ids_BT.to(device), mask_BT.to(device)
