"""vLLM servers that generate or score: `[generation.server]` and `[reward.server]`."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from figa_core.config.decisions import nothing
from figa_core.config.section import Section
from figa_core.config.values import Name, SecretName, api_base_url, environment_variable


def _environment_variable(name: str | None) -> str | None:
    return None if name is None else environment_variable(name)


def _each_once(urls: Sequence[str]) -> Any:
    if len({url.rstrip("/").removesuffix("/v1") for url in urls}) < len(urls):
        raise ValueError("an address is listed twice; list each server once")
    return urls


class ServerConfig(Section):
    """Where the servers are, if `engine` is "server". None of it changes what is drawn or scored."""

    urls: Annotated[tuple[Annotated[str, AfterValidator(api_base_url)], ...], AfterValidator(_each_once)] = (
        nothing((), "Addresses of vLLM servers that all have the model, such as http://host:8000.")
    )
    managed: bool = nothing(
        False, "The run starts servers of its own, and ends them; then urls is empty. See generation.serving."
    )
    model: Name | None = nothing(
        None, 'The name under which they serve it; "none" for the only one that a server lists.'
    )
    load_adapters: bool = nothing(
        False,
        "They load the adapters that LoRA trains: they have --lora-rank, and see the workspace's paths.",
    )
    api_key_env: Annotated[str | None, AfterValidator(_environment_variable)] = nothing(
        None, 'Name of the environment variable that holds their key; "none" for no key.'
    )
    api_key_secret: SecretName = nothing(
        None, 'Name of a Prefect Secret block that holds their key instead; "none" for none.'
    )
    max_in_flight: Annotated[int, Field(ge=1, le=4096)] = nothing(
        256, "Most requests at once to one server; below it the server's queue decides."
    )
    timeout_s: float = nothing(600.0, "Seconds for one request, with its time in the server's queue.", gt=0)
    patience_s: float = nothing(
        120.0, "Seconds to wait while none of the servers answers, before the run ends as Failed.", ge=0
    )
