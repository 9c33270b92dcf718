"""The grader of changed words, if the weighting needs one: its model, key, instructions and price."""

from collections.abc import Iterator

from figa_core.config import PipelineConfig
from figa_core.findings import Finding, problem, warning
from figa_core.training.objectives.registry import objective_named
from flows.checks.facts import Facts
from flows.checks.settings import objectives, price_problem
from tasks.grading_settings import GradingSections, grader_key, grader_template


def check_grader(facts: Facts) -> Iterator[Finding]:
    """There is a model, and a price if there is a budget; some objective reads the weights."""
    config, sections = facts.config, GradingSections.of(facts.config)
    if sections is None:
        if config.grader.model is not None:
            yield warning(
                "grader", f"weighting.scheme = {config.weighting.scheme!r} grades no words: it has no effect."
            )
        return
    if sections.grader.model is None:
        yield problem(
            "grader.model",
            f"weighting.scheme = {sections.scheme!r} needs an LLM that grades words. Name one.",
        )
        return
    yield from price_problem(config.spending, sections.grader.model)
    yield from _use(config, sections.scheme)


def check_key(facts: Facts) -> Iterator[Finding]:
    """The key exists and can be sent, if the run will call the grader; raises ConfigError."""
    sections = GradingSections.of(facts.config)
    if facts.needs_key and sections is not None:
        grader_key(sections)
    yield from ()


def check_template(facts: Facts) -> Iterator[Finding]:
    """The grader's template can be filled in; raises ConfigError."""
    grader_template(facts.config)
    yield from ()


def _use(config: PipelineConfig, scheme: str) -> Iterator[Finding]:
    if not any(objective_named(name).scaled for name in objectives(config)):
        yield warning(
            "weighting.scheme",
            f"{scheme} pays for scores that none of the objectives uses ({', '.join(objectives(config))}).",
        )
