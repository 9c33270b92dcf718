"""The id of the run that a config makes: equal work, equal id. See `decisions.py`."""

from collections.abc import Sequence

from figa_core import ids
from figa_core.config import PipelineConfig
from figa_core.config.decisions import settings_of, values_in_id, values_within


def run_id(
    config: PipelineConfig, *, prompts: str, generator: str, scorer: str, templates: Sequence[str]
) -> str:
    """The run's id.

    `prompts` is the prompts file's fingerprint, `generator` and `scorer` are ids, and `templates` are the
    reviser's instructions without and with a reference.
    """
    return ids.run_id(
        prompts=prompts,
        generator=generator,
        scorer=scorer,
        reviser={**values_within("reviser", settings_of(config)), "templates": list(templates)},
        settings=values_in_id(settings_of(config)),
    )
