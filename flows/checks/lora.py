"""LoRA: the settings of the updates, and adapters that are given as models."""

from collections.abc import Iterator

from figa_core.findings import Finding, problem
from figa_core.models.adapter import is_adapter, underlying
from figa_core.models.architecture import empty_model
from figa_core.models.config_json import quantization, read_config
from figa_core.models.fingerprint import model_fingerprint
from figa_core.models.role import ModelRole
from figa_core.models.weight_files import read_weights
from flows.checks.facts import Facts
from tasks.workspace import Workspace


def check_adapter(facts: Facts) -> Iterator[Finding]:
    """The base model of an adapter is the one it was trained on; raises InputError."""
    model = facts.config.generation.model
    if is_adapter(model):
        workspace = Workspace(facts.config.workspace.path)
        # Reading all of the base once takes seconds; a check makes no workspace to remember it in.
        model_fingerprint(model, workspace.fingerprints if workspace.directory.is_dir() else None)
    yield from ()


def check_updates(facts: Facts) -> Iterator[Finding]:
    """`training.lora.target_modules` names modules of the model; its config describes one that loads."""
    lora = facts.config.training.lora
    if lora.rank is None:
        return
    from figa_core.training.lora import target_problem  # torch, seconds to import

    base = underlying(facts.config.generation.model)
    config = read_config(base)
    if not quantization(config):  # which another check refuses
        empty = empty_model(base, config, ModelRole.POLICY, len(read_weights(base).tensors))
        if text := target_problem(empty, lora, base):
            setting, _, words = text.partition(": ")
            yield problem(setting, words)
