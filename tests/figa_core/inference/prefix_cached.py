"""Samples of a few long prompts by the worker's engine, with vLLM's prefix cache as it comes and without it.

    python -m tests.figa_core.inference.prefix_cached SETTINGS PROMPTS OUTPUT

It runs in vLLM's environment. SETTINGS are those of a worker's engine and PROMPTS lists of token ids, both as
JSON; OUTPUT gets, for either cache, the token ids of each sample and its prompt's tokens from the cache.
"""

import json
import sys
from pathlib import Path
from typing import Any

from figa_core.inference.vllm_worker import _engine

_SAMPLES = 3
_TOKENS = 24


def main() -> None:
    settings, prompts = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    found = {name: _drawn(settings, prompts, **extra) for name, extra in _CACHES.items()}
    Path(sys.argv[3]).write_text(json.dumps(found))


_CACHES: dict[str, dict[str, Any]] = {"as it comes": {}, "none": {"enable_prefix_caching": False}}


def _drawn(
    settings: dict[str, Any], prompts: list[list[int]], **extra: Any
) -> dict[str, list[tuple[list[int], int]]]:
    """Greedy and seeded samples of each prompt."""
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

    llm, found = _engine(settings, **extra), {}
    for temperature in (0.0, 1.0):
        rows = [(prompt, seed) for prompt in prompts for seed in range(_SAMPLES)]
        parameters = [
            SamplingParams(temperature=temperature, seed=seed, max_tokens=_TOKENS, ignore_eos=True)
            for _, seed in rows
        ]
        outputs = llm.generate(
            [{"prompt_token_ids": prompt} for prompt, _ in rows], parameters, use_tqdm=False
        )
        found[str(temperature)] = [
            (list(each.outputs[0].token_ids), each.num_cached_tokens or 0) for each in outputs
        ]
    del llm
    return found


if __name__ == "__main__":
    main()
