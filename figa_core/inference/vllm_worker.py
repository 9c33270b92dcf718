"""Runs in vLLM's environment: reads shards of token ids, writes shards of samples or rewards.

Started by `inference.vllm_process` as ``python -m figa_core.inference.vllm_worker ENGINE``, the engine's
settings as JSON. It loads that engine once and then takes jobs from its standard input, a line of JSON each,
until that ends. It imports vLLM and `figa_core` modules that need no more than pyarrow; see `exchange` for
the files. A job that fails ends the process: its log says why, and the next job gets a new one.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from figa_core.inference import exchange
from figa_core.inference.row_checks import each_or_reason, problem_of
from figa_core.processes.children import die_with_parent
from figa_core.processes.tell import tell, tell_troubles

_Row = TypeVar("_Row")
_Out = TypeVar("_Out")
_CPU_ROWS = 1024
_CPU_TOKENS = 16_384
Process = Callable[[Path, Path], None]
"""Makes the output shard of an input shard."""


def main(engine: dict[str, Any], jobs: Iterable[bytes]) -> None:
    """Load the engine, then process each job's input shards that have no output yet, until jobs end."""
    of_job = _generator(engine) if engine["task"] == "generate" else _scorer(engine)
    for line in jobs:
        job = json.loads(line)
        process = of_job(job)
        for source, target in _pending(Path(job["input"]), Path(job["output"])):
            process(source, target)


def _pending(source: Path, target: Path) -> list[tuple[Path, Path]]:
    return [
        (p, target / p.name) for p in sorted(source.glob("shard-*.parquet")) if not (target / p.name).exists()
    ]


def _engine(settings: dict[str, Any], **extra: Any) -> Any:
    from vllm import LLM, __version__
    from vllm.platforms import current_platform

    begun = time.perf_counter()
    if current_platform.is_cpu():
        extra |= _cpu_settings(settings["max_length"])
    engine = LLM(
        model=settings["model"],
        dtype=settings["dtype"],
        max_model_len=settings["max_length"],
        gpu_memory_utilization=settings["gpu_memory_share"],
        generation_config="vllm",  # what generation_config.json says is in the job, or not wanted
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


def _generator(settings: dict[str, Any]) -> Callable[[dict[str, Any]], Process]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine = _engine(settings)

    def of_job(job: dict[str, Any]) -> Process:
        stops = set(job["stop_token_ids"])

        def parameters(seed: int) -> SamplingParams:
            return SamplingParams(
                temperature=job["temperature"],
                top_p=job["top_p"],
                max_tokens=job["max_tokens"],
                seed=seed,
                stop_token_ids=job["stop_token_ids"],
                ignore_eos=True,  # the job's stop tokens are all there are, as with transformers
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )

        def draw(rows: list[tuple[list[int], int]]) -> list[tuple[list[int], str]]:
            outputs = engine.generate(
                [{"prompt_token_ids": ids} for ids, _ in rows],
                [parameters(seed) for _, seed in rows],
                use_tqdm=False,
            )
            samples = [output.outputs[0] for output in outputs]
            return [
                (_without_stop(list(s.token_ids), stops), "length" if s.finish_reason == "length" else "stop")
                for s in samples
            ]

        def generate(source: Path, target: Path) -> None:
            request_ids, prompts, seeds = exchange.read_shard(source, exchange.GENERATION_REQUESTS)
            problems = _problems(engine, prompts, settings["max_length"] - 1)  # room for one token at least
            outcomes = _outcomes(draw, list(zip(prompts, seeds, strict=True)), problems)
            columns = [
                request_ids,
                [[] if isinstance(o, str) else o[0] for o in outcomes],
                ["" if isinstance(o, str) else o[1] for o in outcomes],
                [o if isinstance(o, str) else None for o in outcomes],
            ]
            exchange.write_shard(target, columns, exchange.GENERATIONS)

        return generate

    return of_job


def _problems(engine: Any, rows: Sequence[Sequence[int]], longest: int) -> list[str | None]:
    vocabulary = engine.llm_engine.model_config.get_vocab_size()
    return [problem_of(row, vocabulary=vocabulary, longest=longest) for row in rows]


def _outcomes(
    work: Callable[[list[_Row]], list[_Out]], rows: Sequence[_Row], problems: Sequence[str | None]
) -> list[_Out | str]:
    """What `work` makes of the rows without a problem, and in words why the others have nothing."""
    good = [row for row, problem in zip(rows, problems, strict=True) if problem is None]
    done = iter(each_or_reason(work, good, (ValueError,)))
    return [next(done) if problem is None else problem for problem in problems]


def _without_stop(token_ids: list[int], stops: set[int]) -> list[int]:
    return token_ids[:-1] if token_ids and token_ids[-1] in stops else token_ids


def _scorer(settings: dict[str, Any]) -> Callable[[dict[str, Any]], Process]:
    from vllm import PoolingParams

    engine = _engine(settings, runner="pooling", convert="classify")
    parameters = PoolingParams(use_activation=False)  # raw logits; the default applies a sigmoid

    def classify(texts: list[list[int]]) -> list[float]:
        prompts = [{"prompt_token_ids": ids} for ids in texts]
        outputs = engine.classify(prompts, pooling_params=parameters, use_tqdm=False)
        return [float(output.outputs.probs[0]) for output in outputs]

    def score(source: Path, target: Path) -> None:
        subject_ids, texts = exchange.read_shard(source, exchange.SCORING_REQUESTS)
        outcomes = _outcomes(classify, texts, _problems(engine, texts, settings["max_length"]))
        columns = [
            subject_ids,
            [None if isinstance(o, str) else o for o in outcomes],
            [o if isinstance(o, str) else None for o in outcomes],
        ]
        exchange.write_shard(target, columns, exchange.SCORES)

    return lambda _job: score


def _jobs() -> IO[bytes]:
    """Standard input, taken away from what vLLM may start: a child that read it would swallow jobs."""
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
    os._exit(0)  # every shard is in place; taking vLLM down takes three seconds more
