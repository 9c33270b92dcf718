"""The id of the run that a config makes: equal work, equal id. See `decisions.py`."""

from collections.abc import Sequence

from figa_core import ids
from figa_core.config import PipelineConfig
from figa_core.config.decisions import settings_of, values_in_id, values_within


def run_id(
    config: PipelineConfig,
    *,
    prompts: str,
    generator: str,
    scorer: str,
    templates: Sequence[str],
    grader_template: str | None = None,
) -> str:
    """The run's id.

    `prompts` is the prompts file's fingerprint, `generator` and `scorer` are ids, and `templates` are the
    reviser's instructions without and with a reference; `grader_template` are the grader's, if the weighting
    needs one.
    """
    graded = {} if grader_template is None else {"grader.instructions": grader_template}
    return ids.run_id(
        prompts=prompts,
        generator=generator,
        scorer=scorer,
        reviser={**values_within("reviser", settings_of(config)), "templates": list(templates)},
        settings={**values_in_id(settings_of(config)), **graded},
    )
