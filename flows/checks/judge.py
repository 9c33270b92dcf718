"""The judge that compares the models' answers: a model, a price if there is a budget, and a key."""

from collections.abc import Iterator

from figa_core.errors import ConfigError
from figa_core.findings import Finding, problem, warning
from flows.checks.facts import Facts
from flows.checks.settings import price_problem
from tasks.judge_settings import judge_key
from tasks.prefer import is_judged, judge_sections

_WHERE = "evaluation.judge"


def check_judge(facts: Facts) -> Iterator[Finding]:
    """What the judge needs is there, and settings without a model have no effect."""
    config, settings = facts.config, facts.config.evaluation.judge
    if not is_judged(config):
        if settings.model_fields_set:
            yield warning(_WHERE, "it has no effect without a model. Set evaluation.judge.model.")
        return
    sections = judge_sections(config)
    yield from price_problem(config.spending, sections.model)
    if facts.needs_key:
        try:
            judge_key(sections)
        except ConfigError as error:
            yield problem(_WHERE, str(error))
