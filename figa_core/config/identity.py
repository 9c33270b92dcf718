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
    training_scorer: str | None = None,
    judge_scorer: str | None = None,
) -> str:
    """The run's id.

    `prompts` is the prompts file's fingerprint, `generator` and `scorer` are ids, and `templates` are the
    reviser's instructions without and with a reference; `grader_template` are the grader's, if the weighting
    needs one. `scorer` is the filter's; those of the pairs and of the judge are part of the id if they differ
    from the one before them.
    """
    graded = {} if grader_template is None else {"grader.instructions": grader_template}
    trained_on = training_scorer or scorer
    others = {} if trained_on == scorer else {"admission.scorer": trained_on}
    if judge_scorer not in (None, trained_on):
        others["evaluation.scorer"] = judge_scorer
    return ids.run_id(
        prompts=prompts,
        generator=generator,
        scorer=scorer,
        reviser={**values_within("reviser", settings_of(config)), "templates": list(templates)},
        settings={**values_in_id(settings_of(config)), **graded, **others},
    )
