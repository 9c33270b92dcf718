"""Runs in vLLM's environment: reads shards of token ids, writes shards of samples or rewards.

Started by `inference.vllm` as ``python -m figa_core.inference.vllm_worker JOB.json``. It imports vLLM and
`figa_core` modules that need no more than pyarrow; see `exchange` for the files. Output shards that exist
already are left alone, so that a restart repeats at most the shard that was in the making.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from figa_core.child_log import tell
from figa_core.inference import exchange
from figa_core.processes import die_with_parent

_CPU_ROWS = 1024
_CPU_TOKENS = 16_384


def main(job_path: Path) -> None:
    """Process every input shard that has no output yet."""
    job = json.loads(job_path.read_text())
    todo = _pending(Path(job["input"]), Path(job["output"]))
    if not todo:
        return
    process = _generator(job) if job["task"] == "generate" else _scorer(job)
    for source, target in todo:
        process(source, target)


def _pending(source: Path, target: Path) -> list[tuple[Path, Path]]:
    return [
        (p, target / p.name) for p in sorted(source.glob("shard-*.parquet")) if not (target / p.name).exists()
    ]


def _engine(job: dict[str, Any], **extra: Any) -> Any:
    from vllm import LLM, __version__
    from vllm.platforms import current_platform

    begun = time.perf_counter()
    if current_platform.is_cpu():
        extra |= _cpu_settings(job["max_length"])
    engine = LLM(
        model=job["model"],
        dtype=job["dtype"],
        max_model_len=job["max_length"],
        gpu_memory_utilization=job["gpu_memory_share"],
        tensor_parallel_size=job["tensor_parallel"],
        generation_config="vllm",  # what generation_config.json says is in the job, or not wanted
        disable_log_stats=True,
        trust_remote_code=False,
        **extra,
    )
    seconds = time.perf_counter() - begun
    tell(
        f"vLLM {__version__} on {current_platform.device_type}, ready in {seconds:.0f} s: "
        f"{job['model']} in {job['dtype']}, at most {job['max_length']} tokens a row"
    )
    return engine


def _cpu_settings(max_length: int) -> dict[str, Any]:
    return {
        "enforce_eager": True,
        "distributed_executor_backend": "uni",
        # With small models a step costs the same for many rows as for few: more rows, fewer steps.
        "max_num_seqs": _CPU_ROWS,
        # A per-request seed kills the CPU engine when prefill is chunked.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(max_length, _CPU_TOKENS),
        # Named outright, or vLLM demands that gpu_memory_utilization of the machine's memory be free.
        "kv_cache_memory_bytes": int(os.environ.get("VLLM_CPU_KVCACHE_SPACE", "0")) * 2**30 or None,
    }


def _generator(job: dict[str, Any]) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = _engine(job)

    def generate(source: Path, target: Path) -> None:
        request_ids, prompts, seeds = exchange.read_shard(source, exchange.GENERATION_REQUESTS)
        parameters = [
            SamplingParams(
                temperature=job["temperature"],
                top_p=job["top_p"],
                max_tokens=job["max_tokens"],
                seed=seed,
                stop_token_ids=job["stop_token_ids"],
                ignore_eos=True,  # the job's stop tokens are all there are, as with transformers
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            for seed in seeds
        ]
        outputs = engine.generate([{"prompt_token_ids": p} for p in prompts], parameters, use_tqdm=False)
        samples = [output.outputs[0] for output in outputs]
        stops = set(job["stop_token_ids"])
        token_ids = [_without_stop(list(sample.token_ids), stops) for sample in samples]
        finish = ["length" if sample.finish_reason == "length" else "stop" for sample in samples]
        exchange.write_shard(target, [request_ids, token_ids, finish], exchange.GENERATIONS)

    return generate


def _without_stop(token_ids: list[int], stops: set[int]) -> list[int]:
    return token_ids[:-1] if token_ids and token_ids[-1] in stops else token_ids


def _scorer(job: dict[str, Any]) -> Any:
    from vllm import PoolingParams

    engine = _engine(job, runner="pooling", convert="classify")
    parameters = PoolingParams(use_activation=False)  # raw logits; the default applies a sigmoid

    def score(source: Path, target: Path) -> None:
        subject_ids, texts = exchange.read_shard(source, exchange.SCORING_REQUESTS)
        prompts = [{"prompt_token_ids": ids} for ids in texts]
        outputs = engine.classify(prompts, pooling_params=parameters, use_tqdm=False)
        values = [float(output.outputs.probs[0]) for output in outputs]
        exchange.write_shard(target, [subject_ids, values], exchange.SCORES)

    return score


if __name__ == "__main__":
    die_with_parent()
    main(Path(sys.argv[1]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # every shard is in place; taking vLLM down takes three seconds more
