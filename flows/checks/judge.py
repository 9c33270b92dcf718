"""The judge that compares the models' answers: a usable template, a price if there is a budget, and a key."""

from collections.abc import Iterator

from figa_core.config import PairwiseJudgeConfig
from figa_core.errors import ConfigError
from figa_core.findings import Finding, problem, warning
from figa_core.judging.pairwise_prompt import shows_rubric
from flows.checks.facts import Facts
from flows.checks.settings import price_problem
from tasks.judge_settings import judge_key, pairwise_template
from tasks.prefer import is_judged, judge_sections

_WHERE = "evaluation.judge"


def check_judge(facts: Facts) -> Iterator[Finding]:
    """What the judge needs is there, and settings without a model have no effect."""
    config, settings = facts.config, facts.config.evaluation.judge
    if not is_judged(config):
        if settings != PairwiseJudgeConfig():  # a stored config sets every field
            yield warning(_WHERE, "it has no effect without a model. Set evaluation.judge.model.")
        return
    try:
        template = pairwise_template(config)
    except ConfigError as error:
        yield problem(f"{_WHERE}.template", str(error))
    else:
        if settings.rubric and template and not shows_rubric(template):
            yield warning(
                f"{_WHERE}.rubric",
                f"it has no effect: {settings.template} does not show it. Put {{{{ rubric }}}} in there.",
            )
    sections = judge_sections(config)
    yield from price_problem(config.spending, sections.model)
    if facts.needs_key:
        try:
            judge_key(sections)
        except ConfigError as error:
            yield problem(_WHERE, str(error))
