"""Whether a server is what the settings say: vLLM, with the model, and a context that is long enough."""

from figa_core.inference.server.client import (
    Client,
    RefusedError,
    ServerError,
    UnreachableError,
    UselessError,
)
from figa_core.inference.server.protocol import BadAnswerError, ServedModel, read_models
from figa_core.inference.servers import Servers

_VLLM = "Give the address of a vLLM server, such as http://host:8000"


class UnfitServerError(Exception):
    """The server answers, and cannot be used; the message says why and what to do."""


async def model_of(client: Client, servers: Servers, *, longest: int) -> str:
    """The name under which the server has the model; `longest`: tokens of a row, with its sample.

    Raises:
        UnreachableError: it does not answer, or with an error that may pass.
        UnfitServerError: it answers, and is no vLLM, or has another model or too short a context.
    """
    try:
        found = read_models(await client.get("/v1/models"))
    except (UselessError, RefusedError, BadAnswerError) as error:
        raise UnfitServerError(f"{client.root}/v1/models: {error}. {_VLLM}.") from error
    except ServerError as error:  # a proxy answers so, too, while the server behind it starts
        raise UnreachableError(str(error)) from error
    model = _named(found, servers.model, client.root, servers.section)
    if not model.by_vllm:
        raise UnfitServerError(
            f"{client.root} is an OpenAI-compatible server but no vLLM: it does not say how long a context "
            f"it has, and returns no token ids. {_VLLM}."
        )
    if model.max_length is not None and model.max_length < longest:
        raise UnfitServerError(
            f"{client.root} takes at most {model.max_length} tokens (--max-model-len), and a row may have "
            f"{longest}. Start it with a longer context, or lower the settings of lengths."
        )
    return model.name


def _named(found: list[ServedModel], wanted: str | None, root: str, section: str) -> ServedModel:
    names = ", ".join(model.name for model in found) or "none"
    if wanted is not None:
        for model in found:
            if model.name == wanted:
                return model
        raise UnfitServerError(
            f"{root} has no model called {wanted!r} ({section}.model); it has {names}. Correct the name, or "
            "start the server with that model."
        )
    if len(found) != 1:
        raise UnfitServerError(f"{root} has several models ({names}). Name one: {section}.model.")
    return found[0]
