"""A plain vLLM script, as one writes it by hand, timed; it runs in vLLM's environment.

    python -m tests.benchmarks.bare_vllm SPEC

SPEC is a JSON file: `task` ("generate" or "score"), `rows` (lists of token ids), `model`, `dtype`,
`max_length`, `max_tokens`, `stop_token_ids`, `sampling` (further arguments of `SamplingParams`), `seeds`
(whether each row has its own) and `extra` (further arguments of `LLM`). After the start it waits for lines on
its standard input. For each it makes all rows in one call, and writes the seconds of that call to the file
that the line names.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UP = 16  # rows before the first call that counts


def main() -> None:
    """Load the model once, then time a call for each line."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    call = _generate(spec) if spec["task"] == "generate" else _classify(spec)
    call(spec["rows"][:WARM_UP])
    print("ready", flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        call(spec["rows"])
        seconds = time.perf_counter() - begun
        target = Path(line.strip())
        made = target.with_suffix(".part")
        made.write_text(repr(seconds))
        made.replace(target)


def _generate(spec: dict[str, Any]) -> Callable[[list[list[int]]], Any]:
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]

    llm = _llm(spec)

    def parameters(seed: int) -> SamplingParams:
        return SamplingParams(
            temperature=1.0,
            max_tokens=spec["max_tokens"],
            stop_token_ids=spec["stop_token_ids"],
            ignore_eos=True,
            seed=seed if spec["seeds"] else None,
            **spec["sampling"],
        )

    def call(rows: list[list[int]]) -> Any:
        prompts = [{"prompt_token_ids": row} for row in rows]
        return llm.generate(prompts, [parameters(seed) for seed in range(len(rows))], use_tqdm=False)

    return call


def _classify(spec: dict[str, Any]) -> Callable[[list[list[int]]], Any]:
    from vllm import PoolingParams  # pyright: ignore[reportMissingImports]

    llm = _llm(spec, runner="pooling", convert="classify")

    def call(rows: list[list[int]]) -> Any:
        prompts = [{"prompt_token_ids": row} for row in rows]
        return llm.classify(prompts, pooling_params=PoolingParams(use_activation=False), use_tqdm=False)

    return call


def _llm(spec: dict[str, Any], **extra: Any) -> Any:
    from vllm import LLM  # pyright: ignore[reportMissingImports]

    return LLM(
        model=spec["model"],
        dtype=spec["dtype"],
        max_model_len=spec["max_length"],
        generation_config="vllm",
        **spec["extra"],
        **extra,
    )


if __name__ == "__main__":
    main()
