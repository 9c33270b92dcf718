"""Benchmarks by lm-eval: its environment is there and knows the tasks, and enough questions are asked."""

from collections.abc import Iterator
from math import sqrt

from figa_core.config.harness import HarnessConfig
from figa_core.errors import EngineError
from figa_core.findings import Finding, problem, warning
from figa_core.harness.environment import INSTALL, find_harness
from figa_core.harness.request import TRANSFORMERS, VLLM
from figa_core.harness.survey import look_up
from flows.checks.facts import Facts
from tasks.benchmark import asking

_WHERE = "evaluation.harness"
_SEES_POINTS = 5.0
"""A limit is warned about if a score may be off by more than this: the half width of its interval."""


def check_environment(facts: Facts) -> Iterator[Finding]:
    """lm-eval is installed, with the engine that is to run the models."""
    settings = facts.config.evaluation.harness
    if not settings.tasks:
        if settings != HarnessConfig():  # a stored config sets every field
            yield warning(_WHERE, "it has no effect without tasks. Set evaluation.harness.tasks.")
        return
    try:
        harness = find_harness()
    except EngineError as error:
        yield problem(_WHERE, str(error))
        return
    if settings.engine == VLLM and not harness.has_vllm:
        yield problem(
            f"{_WHERE}.engine",
            f"lm-eval's environment ({harness.python}) has no vLLM. Install vLLM's (`make setup`), "
            f'then lm-eval\'s again (`{INSTALL}`), or set engine = "{TRANSFORMERS}".',
        )
    if settings.engine == VLLM and facts.config.generation.workers is not None:
        yield warning(
            _WHERE, "lm-eval runs where the run itself does, not on the workers of generation.workers."
        )
    if settings.limit is not None and (off := 100 * 1.96 * 0.5 / sqrt(settings.limit)) > _SEES_POINTS:
        yield warning(
            f"{_WHERE}.limit",
            f"over {settings.limit:,} questions a score near 50 of 100 has a 95 % interval of ± {off:.0f} "
            "points, and it is not that of the whole benchmark. It shows that a task runs, and little else.",
        )


def check_tasks(facts: Facts) -> Iterator[Finding]:
    """lm-eval knows every name. Whether it can load a task's data shows only when the task runs."""
    settings = facts.config.evaluation.harness
    if not settings.tasks:
        return
    if settings.include_path is not None and not settings.include_path.is_dir():
        yield problem(f"{_WHERE}.include_path", f"{settings.include_path}: no such folder. Correct the path.")
        return
    facts.say("asking lm-eval for the tasks of evaluation.harness")
    found = look_up(find_harness(), settings.tasks, settings.include_path)
    for name in settings.tasks:
        if name not in found.known:
            close = ", ".join(found.close.get(name, ()))
            meant = f"; did you mean {close}?" if close else "."
            own = ", nor of a valid YAML file in include_path" if settings.include_path else ""
            yield problem(f"{_WHERE}.tasks", f"{name!r} is no task, group or tag of lm-eval{own}{meant}")


def check_thoughts(facts: Facts) -> Iterator[Finding]:
    """With vLLM, lm-eval lets a thought end before it looks for a task's own stops; with transformers not."""
    settings, model = facts.config.evaluation.harness, facts.config.generation.model
    if not settings.tasks or settings.engine != TRANSFORMERS or asking(facts.config, model)[1] is None:
        return
    yield warning(
        f"{_WHERE}.engine",
        f"{model} thinks before it answers, and with transformers lm-eval ends a text at a task's own stop, "
        "such as a blank line, also within the thought. Tasks in which the model writes would be scored by "
        f'pieces of thoughts. Set engine = "{VLLM}", or generation.thinking = "off".',
    )
