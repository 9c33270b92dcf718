"""Engine "auto": of transformers and vLLM the one that is done sooner, as `choice` estimates it."""

import sys

from figa_core.inference.checkpoint import model_size
from figa_core.inference.choice import Choice, Work, by_transformers, by_vllm, choose
from figa_core.inference.devices import transformers_device, vllm_device
from figa_core.inference.engine import Generating, Scoring
from figa_core.inference.vllm_python import vllm_package


def choose_by_work(settings: Generating | Scoring, work: Work, *, vllm_is_up: bool) -> Choice:
    """Which engine does this work here sooner; vLLM is installed.

    Raises:
        EngineError: the model has no readable config.json.
    """
    size = model_size(settings.model)
    imported = "transformers" in sys.modules and "torch" in sys.modules
    ours = by_transformers(work, size, transformers_device(), settings.tokens_per_batch, imported=imported)
    theirs = by_vllm(work, size, vllm_device(vllm_package()), settings.tokens_per_batch)
    return choose(ours, theirs, vllm_is_up=vllm_is_up)
