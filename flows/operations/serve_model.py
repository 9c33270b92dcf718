"""`figa serve-model`: vLLM's server for a model, with the options that the engine "server" needs."""

import json
import os
from collections.abc import Iterator
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
    label: Annotated[
        str | None,
        typer.Option("--label", help="Of a reward model with several labels: which one runs will use."),
    ] = None,
    lora_rank: Annotated[
        int | None,
        typer.Option(
            "--lora-rank",
            min=1,
            max=512,
            help="Make room for adapters up to this rank, loaded while it runs.",
        ),
    ] = None,
) -> NoReturn:
    """Serve a model by vLLM until Ctrl-C, for runs with `engine = "server"`.

    VLLM_API_KEY, if it is set, is the key that requests must have. The logits of a reward model are its
    rewards. With --lora-rank, whoever has the key can have the server load adapters from its disk.
    """
    from figa_core.errors import EngineError
    from figa_core.inference.choice import CPU
    from figa_core.inference.copies import Copies, places_of
    from figa_core.inference.devices import vllm_device, vllm_gpus
    from figa_core.inference.server.launch import Launch, room_for
    from figa_core.inference.vllm_python import require_vllm_python
    from figa_core.models.check import examine
    from figa_core.models.config_json import read_config
    from figa_core.models.role import ModelRole

    directory = model.expanduser().absolute()
    names = read_config(directory).get("architectures") or [""]
    rates = "ForSequenceClassification" in str(names[0])
    if rates:
        problems = [*_unused(rates, lora_rank, "--lora-rank"), *_reward_problems(directory, label)]
    else:
        problems = [*_unused(rates, label, "--label"), *examine(directory, ModelRole.POLICY).problems]
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
        lora_rank=None if lora_rank is None else room_for(lora_rank),
        on_cpu=vllm_device() is CPU,
    )
    python = require_vllm_python()
    section = "reward" if rates else "generation"
    of_label = "" if label is None else f", label = {label if label.isdecimal() else json.dumps(label)}"
    print(
        f'serving {directory} at http://{host}:{port}; [{section}] engine = "server"{of_label} uses it',
        flush=True,
    )
    os.execve(python, launch.command(python), {**launch.environment(), **os.environ})


def _reward_problems(directory: Path, label: str | None) -> list[str]:
    from figa_core.models.check import examine, problems_to_serve
    from figa_core.models.role import ModelRole

    head = examine(directory, ModelRole.REWARD, label).head
    if label is None and head is not None and len(head.names) > 1:
        numbered = ", ".join(f"{number}: {name}" for number, name in enumerate(head.names))
        return [
            f"{directory}: a reward model has one label, this one has {len(head.names)} ({numbered}). Say "
            f"which of them is the reward: --label {len(head.names) - 1}, for example."
        ]
    return problems_to_serve(directory, label)


def _unused(rates: bool, value: object, option: str) -> Iterator[str]:
    if value is not None:
        kind = "a reward model" if rates else "no reward model"
        yield f"{option} is not for this model: it is {kind}. Leave it out."
