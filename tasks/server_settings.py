"""Where an engine's models run: its servers, or its copies on this machine."""

from pathlib import Path

from figa_core.config import GenerationConfig, PipelineConfig, RewardConfig
from figa_core.inference.copies import Copies
from figa_core.inference.engine import AUTO, SERVER
from figa_core.inference.servers import Servers
from figa_core.models.adapter import is_adapter, underlying
from tasks.api_keys import api_key_of, names_a_key


def servers_of(config: GenerationConfig | RewardConfig) -> Servers | None:
    """The servers of this section; None if its engine uses none. Raises ConfigError if the key is missing."""
    if config.engine != SERVER:
        return None
    section = "generation.server" if isinstance(config, GenerationConfig) else "reward.server"
    server = config.server
    key = api_key_of(server, section) if names_a_key(server) else None
    return Servers(
        urls=server.urls,
        model=server.model,
        api_key=key,
        most_in_flight=server.max_in_flight,
        timeout_s=server.timeout_s,
        patience_s=server.patience_s,
        managed=server.managed,
        section=section,
    )


def adapter_rank(config: PipelineConfig) -> int | None:
    """The largest rank of the adapters that its trainings leave; None if they leave whole models."""
    trainings = [config.training, *(method.training(config.training) for method in config.compare.methods)]
    loras = [training.lora for training in trainings]
    return max((lora.rank for lora in loras if lora.rank is not None and not lora.merge), default=None)


def copies_of(config: GenerationConfig | RewardConfig) -> Copies:
    """How many copies of this section's model vLLM runs here."""
    section = "generation.vllm" if isinstance(config, GenerationConfig) else "reward.vllm"
    return Copies(config.vllm.tensor_parallel, config.vllm.data_parallel, section)


def generating_engine(config: GenerationConfig, model: Path) -> str:
    """The engine that samples this model: servers that run elsewhere have no trained one, unless they load
    adapters.
    """
    elsewhere = config.engine == SERVER and not config.server.managed
    there = not elsewhere or model == config.model or loads_adapter(config, model)
    return config.engine if there else AUTO


def loads_adapter(config: GenerationConfig, model: Path) -> bool:
    """Whether servers that run elsewhere load this trained model."""
    server = config.server
    if config.engine != SERVER or server.managed or not server.load_adapters or model == config.model:
        return False
    return is_adapter(model) and underlying(model).resolve() == config.model.resolve()
