"""Embeddings of texts: the mean of a model's last hidden states. It takes seconds to import.

Any model that transformers loads will do: a sentence encoder that pools by the mean, such as
all-MiniLM-L6-v2, or the base model itself.

Shapes: B texts, T tokens, D dimensions.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from figa_core.errors import EngineError
from figa_core.models.tokenizer import load_tokenizer

_AT_ONCE = 16
_MAX_TOKENS = 512


class Embedder:
    """A model on this machine's device."""

    def __init__(self, directory: Path) -> None:
        """Raises EngineError if it cannot be loaded."""
        transformers_logging.disable_progress_bar()
        try:
            self._tokenizer = load_tokenizer(directory)
            model = AutoModel.from_pretrained(
                directory, local_files_only=True, trust_remote_code=False, use_safetensors=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise EngineError(f"{directory}: cannot load the model for embeddings: {error}") from error
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.eval()  # on the device when it is used: until then others need its memory
        places = getattr(self._model.config, "max_position_embeddings", None) or _MAX_TOKENS
        self._max_tokens = min(_MAX_TOKENS, int(places))

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """Unit vectors, shape [N, D]. Of a longer text only its first 512 tokens are read."""
        self._model.to(self._device)
        batches = [texts[first : first + _AT_ONCE] for first in range(0, len(texts), _AT_ONCE)]
        return np.concatenate([self._embed(batch) for batch in batches])

    def _embed(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        rows = [self._tokenizer(text, truncation=True, max_length=self._max_tokens) for text in texts]
        ids = [torch.tensor(row["input_ids"] or [0]) for row in rows]
        ids_BT = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True).to(self._device)
        mask_BT = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in ids], batch_first=True).to(
            self._device
        )
        hidden_BTD = self._model(input_ids=ids_BT, attention_mask=mask_BT.long()).last_hidden_state.float()
        mean_BD = (hidden_BTD * mask_BT[..., None]).sum(dim=1) / mask_BT.sum(dim=1, keepdim=True)
        return torch.nn.functional.normalize(mean_BD, dim=-1).double().cpu().numpy()
