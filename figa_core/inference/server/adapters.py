"""Adapters that are loaded into servers which run already, beside their base."""

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson

from figa_core.errors import EngineError
from figa_core.inference.server.adapter_names import name_of
from figa_core.inference.server.bridge import in_thread
from figa_core.inference.server.client import Client, ServerError, UnreachableError, clients, open_session
from figa_core.inference.server.launch import rank_of
from figa_core.inference.server.protocol import BadAnswerError, read_models
from figa_core.inference.servers import Servers

_LOAD_S = 300.0


def with_adapter(servers: Servers, adapter: Path) -> Servers:
    """The servers under the name of this adapter, which those that answer have then.

    One that is away or restarts meanwhile has no such model, and is not used until the next call.

    Raises:
        EngineError: a server refuses it.
        OSError: its files cannot be read.
    """
    name = name_of(adapter)
    in_thread(lambda: _load(servers, name, adapter))
    return replace(servers, model=name)


async def _load(servers: Servers, name: str, adapter: Path) -> None:
    session = open_session(servers)
    try:
        loads = (_load_into(client, name, adapter, servers.section) for client in clients(servers, session))
        await asyncio.gather(*loads)
    finally:
        await session.close()


async def _load_into(client: Client, name: str, adapter: Path, section: str) -> None:
    body = orjson.dumps({"lora_name": name, "lora_path": str(adapter)})
    try:
        if name not in (model.name for model in read_models(await client.get("/v1/models"))):
            await client.post("/v1/load_lora_adapter", body, _LOAD_S)
    except UnreachableError:
        return
    except (ServerError, BadAnswerError) as error:
        raise EngineError(
            f"{client.root} does not load the adapter {adapter}: {error}. Start it by figa serve-model with "
            f"--lora-rank {rank_of(adapter)} or more, on a machine that sees this path; or set "
            f"{section}.load_adapters = false, and the run's machine samples trained models."
        ) from error
