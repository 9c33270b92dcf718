"""Models to load: a whole model is itself, and an adapter is merged into one once, in the workspace."""

import logging
from pathlib import Path

from figa_core.errors import EngineError
from figa_core.models.adapter import is_adapter
from figa_core.models.check import examine
from figa_core.models.fingerprint import MERGED, model_fingerprint
from figa_core.models.role import ModelRole
from tasks.workspace import Workspace

_LOGGER = logging.getLogger("figa_core.models")


def whole_model(workspace: Workspace, model: Path) -> Path:
    """The directory of the whole model: `model` itself, or what the adapter in it is merged into.

    The result has the fingerprint and the chat format of `model`.

    Raises:
        InputError: the adapter's base model is missing, or another than it was.
        EngineError: the adapter cannot be merged.
    """
    if not is_adapter(model):
        return model
    fingerprint = model_fingerprint(model, workspace.fingerprints)
    target = workspace.merged(fingerprint)
    if not (target / MERGED).is_file():
        if problems := examine(model, ModelRole.POLICY).problems:
            raise EngineError("\n".join(problems))
        _LOGGER.info("%s: the adapter is merged into its base model, once: %s", model, target)
        from figa_core.training.merging import merged_once  # torch, seconds to import

        merged_once(model, target, fingerprint)
    return target
