"""The vLLM servers of the settings: whether they are what the settings say."""

from collections.abc import Iterator

from figa_core.config import GenerationConfig, RewardConfig
from figa_core.config.decisions import settings_in
from figa_core.config.roles import model_rewards
from figa_core.errors import EngineError
from figa_core.findings import Finding, problem, warning
from figa_core.inference.copies import places_of
from figa_core.inference.devices import vllm_gpus
from figa_core.inference.engine import SERVER
from figa_core.inference.vllm_python import find_vllm_python
from flows.checks.facts import Facts, each_reward_model
from tasks.server_settings import copies_of, servers_of


def check_servers(facts: Facts) -> Iterator[Finding]:
    """Those that answer have the model and a context that is long enough; raises ConfigError for a key."""
    config = facts.config
    longest = config.prompts.max_prompt_tokens + config.generation.max_tokens
    yield from _check("generation", config.generation, longest)
    yield from _reward_servers(facts)


@each_reward_model
def _reward_servers(facts: Facts) -> Iterator[Finding]:
    yield from _check("reward", facts.reward, facts.reward.max_length)


def check_workers(facts: Facts) -> Iterator[Finding]:
    """Whether there can be runs that generate and score for this one."""
    generation, rewards = facts.config.generation, model_rewards(facts.config).values()
    if generation.workers is None:
        return
    if all(config.engine == SERVER for config in (generation, *rewards)):
        yield warning(
            "generation.workers", "is not used: the servers of both engines share their work without it."
        )
        return
    from flows.server.api import configured_url  # Prefect, a second to import

    if configured_url() is None:
        yield problem(
            "generation.workers",
            "needs a Prefect server with workers on the pool gpu, and a run without PREFECT_API_URL has one "
            "of its own without any. Start `make serve` and set PREFECT_API_URL to its API; or set "
            'generation.workers = "none".',
        )


def check_serving(facts: Facts) -> Iterator[Finding]:
    """Whether the run's own servers can be on the pool."""
    generation = facts.config.generation
    serving, managed = generation.serving, generation.engine == SERVER and generation.server.managed
    if not (managed and serving.pool):
        changed = [setting.field for setting in settings_in("serving", serving) if not setting.at_default]
        if changed:
            why = "pool is false" if managed else "the run has no servers of its own"
            yield warning(f"generation.serving.{changed[0]}", f"is not used: {why}.")
        return
    if facts.config.storage.artifacts is not None:
        yield problem(
            "generation.serving.pool",
            "servers on the pool need the disk of the workspace, and with storage.artifacts its machines "
            "share none. Set generation.serving.pool = false, or share the disk and set storage.artifacts = "
            '"none".',
        )
    from flows.server.api import configured_url  # Prefect, a second to import

    if configured_url() is None:
        yield problem(
            "generation.serving.pool",
            "needs a Prefect server with workers on the pool gpu, and a run without PREFECT_API_URL has one "
            "of its own without any. Start `make serve` and set PREFECT_API_URL to its API; or set "
            "generation.serving.pool = false.",
        )


def _check_managed(section: str, config: GenerationConfig | RewardConfig) -> Iterator[Finding]:
    if not isinstance(config, GenerationConfig):
        yield problem(
            f"{section}.server.managed",
            f'a run starts servers for generation only. Set {section}.engine = "vllm", which keeps the model '
            "loaded as well, or start a server yourself (figa serve-model REWARD_MODEL) and give its address "
            f"in {section}.server.urls.",
        )
        return
    if config.server.urls:
        yield problem(
            f"{section}.server",
            "managed = true starts servers, and urls names others. Choose one of the two.",
        )
    if config.serving.pool:  # vLLM and the GPUs are on other machines
        return
    if find_vllm_python() is None:
        yield problem(
            f"{section}.server.managed",
            "no environment with vLLM was found. Run `make setup`, or set FIGA_VLLM_PYTHON to an interpreter "
            "that has it.",
        )
    places_of(copies_of(config), vllm_gpus())


def _check(section: str, config: GenerationConfig | RewardConfig, longest: int) -> Iterator[Finding]:
    if config.engine != SERVER:
        if config.server.urls:
            yield warning(
                f"{section}.server.urls",
                f'is not used: {section}.engine is "{config.engine}", not "{SERVER}".',
            )
        return
    if config.server.load_adapters and (config.server.managed or not isinstance(config, GenerationConfig)):
        why = "managed servers always do" if config.server.managed else "reward models have none"
        yield warning(f"{section}.server.load_adapters", f"is not used: {why}.")
    if config.server.managed:
        yield from _check_managed(section, config)
        return
    servers = servers_of(config)
    if servers is None or not servers.urls:
        yield problem(
            f"{section}.server.urls",
            f'names no server, and {section}.engine is "{SERVER}". Give the address of a vLLM server, such '
            "as http://host:8000.",
        )
        return
    from figa_core.inference.server.engine import survey  # aiohttp, a third of a second to import
    from figa_core.inference.server.survey import another_name

    try:
        found = survey(servers, longest)
    except EngineError as error:
        yield problem(f"{section}.server", str(error))
        return
    # It may be needed by nothing that is left to do; if it is, the stage that needs it says so at once.
    for root, reason in found.away.items():
        yield warning(f"{section}.server.urls", f"{root} does not answer now ({reason}).")
    for root, model in found.models.items():
        if servers.model is None and (other := another_name(model, config.model)) is not None:
            yield warning(
                f"{section}.server.urls",
                f"{root} has {other}, and {section}.model is {config.model}. If these are other weights, "
                "start it with those of the settings. If they are the same, say so: "
                f'{section}.server.model = "{model.name}".',
            )
