"""`figa serve-model`: vLLM's server for a model, with the options that the engine "server" needs."""

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

_PORT_MAX = 65_535


def serve_model(
    model: Annotated[Path, typer.Argument(help="Hugging Face directory of a model or reward model.")],
    port: Annotated[int, typer.Option("--port", min=1, max=_PORT_MAX, help="Where it listens.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 for all of this machine's.")
    ] = "127.0.0.1",
    max_length: Annotated[
        int | None, typer.Option("--max-length", min=8, help="Most tokens of a row; by default the model's.")
    ] = None,
    gpu_memory_share: Annotated[
        float, typer.Option("--gpu-memory-share", min=0.01, max=1, help="Share of each GPU; 0.2 on CPU.")
    ] = 0.9,
    tensor_parallel: Annotated[
        int, typer.Option("--tensor-parallel", min=1, help="GPUs over which the model is split.")
    ] = 1,
) -> NoReturn:
    """Serve a model by vLLM until Ctrl-C, for runs with `engine = "server"`.

    VLLM_API_KEY, if it is set, is the key that requests must have. The logits of a reward model are its
    rewards.
    """
    from figa_core.errors import EngineError
    from figa_core.inference.choice import CPU
    from figa_core.inference.copies import Copies, places_of
    from figa_core.inference.devices import vllm_device, vllm_gpus
    from figa_core.inference.server.launch import Launch
    from figa_core.inference.vllm_python import require_vllm_python
    from figa_core.models.check import examine, problems_to_serve
    from figa_core.models.config_json import read_config
    from figa_core.models.role import ModelRole

    directory = model.expanduser().absolute()
    names = read_config(directory).get("architectures") or [""]
    rates = "ForSequenceClassification" in str(names[0])
    problems = problems_to_serve(directory) if rates else examine(directory, ModelRole.POLICY).problems
    if problems:
        raise EngineError("\n".join(problems))
    places_of(Copies(tensor_parallel, 1, "--tensor-parallel"), vllm_gpus())
    launch = Launch(
        directory,
        port,
        host=host,
        rates=rates,
        max_length=max_length,
        gpu_memory_share=gpu_memory_share,
        tensor_parallel=tensor_parallel,
        on_cpu=vllm_device() is CPU,
    )
    python = require_vllm_python()
    section = "reward" if rates else "generation"
    print(f'serving {directory} at http://{host}:{port}; [{section}] engine = "server" uses it', flush=True)
    os.execve(python, launch.command(python), {**launch.environment(), **os.environ})
