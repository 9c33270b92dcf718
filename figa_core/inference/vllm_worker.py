"""Runs in vLLM's environment: reads shards of token ids, writes shards of samples or rewards.

`vllm_process` starts it as ``python -m figa_core.inference.vllm_worker ENGINE``, with the engine's settings
as JSON. It loads that engine once and then reads jobs from its standard input, a line of JSON each.
It imports vLLM, and `figa_core` modules that need no more than pyarrow; see `exchange` for the files.
A job that fails ends the process: its log has the reason, and the next job gets a new process.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from figa_core.inference import exchange
from figa_core.inference.row_checks import outcomes, problem_of
from figa_core.inference.vllm_stream import Stream
from figa_core.processes.children import die_with_parent
from figa_core.processes.tell import tell, tell_troubles

Serve = Callable[[Iterable[dict[str, Any]]], None]
"""Makes the output shards of jobs, until there are no more."""


def main(engine: dict[str, Any], jobs: Iterable[bytes]) -> None:
    """Load the engine, then make the output shard of each job, until there are no more."""
    serve = _generator(engine) if engine["task"] == "generate" else _scorer(engine)
    serve(json.loads(line) for line in jobs)


def _engine(settings: dict[str, Any], **extra: Any) -> Any:
    from vllm import LLM, __version__
    from vllm.platforms import current_platform

    begun = time.perf_counter()
    if current_platform.is_cpu():
        extra |= cpu_settings(settings["max_length"])
    engine = LLM(
        model=settings["model"],
        dtype=settings["dtype"],
        max_model_len=settings["max_length"],
        tensor_parallel_size=settings["tensor_parallel"],
        gpu_memory_utilization=settings["gpu_memory_share"],
        generation_config="vllm",  # the job has all wanted settings of generation_config.json
        disable_log_stats=True,
        trust_remote_code=False,
        **extra,
    )
    seconds = time.perf_counter() - begun
    tell(
        f"vLLM {__version__} on {current_platform.device_type}, ready in {seconds:.0f} s: "
        f"{settings['model']} in {settings['dtype']}, at most {settings['max_length']} tokens a row"
    )
    return engine


def cpu_settings(max_length: int) -> dict[str, Any]:
    return {
        "enforce_eager": True,
        "distributed_executor_backend": "uni",
        # With small models a step costs the same for many rows as for few: more rows, fewer steps.
        "max_num_seqs": 1024,
        # A per-request seed kills the CPU engine when prefill is chunked.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(max_length, 16_384),
        # Without it vLLM demands that gpu_memory_utilization of the machine's memory be free.
        "kv_cache_memory_bytes": int(os.environ.get("VLLM_CPU_KVCACHE_SPACE", "0")) * 2**30 or None,
    }


def _generator(settings: dict[str, Any]) -> Serve:
    engine = _engine(settings)
    longest = settings["max_length"] - 1  # room for one token at least

    def opened(job: dict[str, Any]) -> _Prompts:
        request_ids, prompts, seeds = exchange.read_shard(Path(job["input"]), exchange.GENERATION_REQUESTS)
        return _Prompts(job, request_ids, prompts, seeds, _problems(engine, prompts, longest))

    return lambda jobs: Stream(engine).run(jobs, opened)


@dataclass(frozen=True, slots=True)
class _Prompts:
    """vllm_stream.DrawnShard: a job's prompts, drawn by its settings."""

    job: dict[str, Any]
    request_ids: list[str]
    prompts: list[list[int]]
    seeds: list[int]
    problems: list[str | None]

    def parameters(self, row: int, /) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        job = self.job
        return SamplingParams(
            temperature=job["temperature"],
            top_p=job["top_p"],
            max_tokens=job["max_tokens"],
            seed=self.seeds[row],
            top_k=job["top_k"],
            min_p=job["min_p"],
            repetition_penalty=job["repetition_penalty"],
            stop=job["stop"] or None,
            stop_token_ids=job["stop_token_ids"],
            ignore_eos=True,  # only the job's stops count, as with transformers
            detokenize=bool(job["stop"]),  # only a text shows where it stops
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def write(self, found: Sequence[Any], /) -> None:
        samples = [([], "", each) if isinstance(each, str) else (*self._drawn(each), None) for each in found]
        columns = [self.request_ids, *map(list, zip(*samples, strict=True))]
        exchange.write_shard(Path(self.job["output"]), columns, exchange.GENERATIONS)

    def _drawn(self, output: Any) -> tuple[list[int], str]:
        sample = output.outputs[0]
        ids = list(sample.token_ids)
        finish = "length" if sample.finish_reason == "length" else "stop"
        return (ids[:-1] if ids and ids[-1] in self.job["stop_token_ids"] else ids), finish


def _problems(engine: Any, rows: Sequence[Sequence[int]], longest: int) -> list[str | None]:
    vocabulary = engine.llm_engine.model_config.get_vocab_size()
    return [problem_of(row, vocabulary=vocabulary, longest=longest) for row in rows]


def _scorer(settings: dict[str, Any]) -> Serve:
    from vllm import PoolingParams

    engine = _engine(settings, runner="pooling", convert="classify")
    parameters = PoolingParams(use_activation=False)  # raw logits; the default applies a sigmoid

    def classify(texts: list[list[int]]) -> list[float]:
        prompts = [{"prompt_token_ids": ids} for ids in texts]
        outputs = engine.classify(prompts, pooling_params=parameters, use_tqdm=False)
        return [float(output.outputs.probs[0]) for output in outputs]

    def score(source: Path, target: Path) -> None:
        subject_ids, texts = exchange.read_shard(source, exchange.SCORING_REQUESTS)
        found = outcomes(classify, texts, _problems(engine, texts, settings["max_length"]), (ValueError,))
        columns = [
            subject_ids,
            [None if isinstance(o, str) else o for o in found],
            [o if isinstance(o, str) else None for o in found],
        ]
        exchange.write_shard(target, columns, exchange.SCORES)

    def serve(jobs: Iterable[dict[str, Any]]) -> None:
        for job in jobs:
            score(Path(job["input"]), Path(job["output"]))

    return serve


def _jobs() -> IO[bytes]:
    """Standard input, hidden from vLLM's child processes, which would otherwise read jobs from it."""
    jobs = os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return jobs


if __name__ == "__main__":
    die_with_parent()
    tell_troubles()
    main(json.loads(sys.argv[1]), _jobs())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # every shard is written; shutting vLLM down would take three seconds more
