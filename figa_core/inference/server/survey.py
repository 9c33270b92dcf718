"""Whether a server is what the settings say: vLLM, with the model, and a context that is long enough."""

from collections.abc import Mapping
from pathlib import Path

from figa_core.inference.server.adapter_names import is_of_adapter
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


async def model_of(client: Client, servers: Servers, *, longest: int) -> ServedModel:
    """The model as the server has it; `longest`: tokens of a row, with its sample.

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
    return model


def differing(models: Mapping[str, ServedModel], section: str) -> str | None:
    """What to say if servers, given by address, have models of different names; None if they do not."""
    if len({model.name for model in models.values()}) < 2:
        return None
    listed = ", ".join(f"{root} has {model.name}" for root, model in models.items())
    return (
        f"{section}.urls: the servers have different models ({listed}). Start all with the same one, under "
        "the same --served-model-name, or leave out those with another."
    )


def another_name(model: ServedModel, directory: Path) -> str | None:
    """The name that the server gives its model, if it is not that of the directory; None if it is.

    It is a sign of another model, not a proof: a model may lie in directories of different names.
    """
    given = {Path(each).name for each in (model.root, model.name) if each}
    return None if _own_name(directory) in given else model.root or model.name


def _own_name(directory: Path) -> str:
    """Of Hugging Face's cache (models--owner--name/snapshots/revision) the model's name."""
    cached = next((part for part in directory.parts if part.startswith("models--")), None)
    return directory.name if cached is None else cached.rsplit("--", 1)[-1]


def _named(found: list[ServedModel], wanted: str | None, root: str, section: str) -> ServedModel:
    names = ", ".join(model.name for model in found) or "none"
    if wanted is not None:
        for model in found:
            if model.name == wanted:
                return model
        raise UnfitServerError(
            f"{root} has no model called {wanted!r}; it has {names}. Start the server with that model, or "
            f"correct {section}.model; without it, the name is the one that the servers had at first."
        )
    bases = [model for model in found if not is_of_adapter(model.name)] or found
    if len(bases) != 1:
        raise UnfitServerError(f"{root} has several models ({names}). Name one: {section}.model.")
    return bases[0]
