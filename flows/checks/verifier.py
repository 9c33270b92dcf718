"""The verifier: imported, and tried on rows of the file of prompts."""

from collections.abc import Iterator
from itertools import islice

from figa_core.evaluation.verifier import judge, load_verifier
from figa_core.findings import Finding, problem, warning
from flows.checks.facts import Facts

_ROWS_TRIED = 3
_TEXT = "This text stands in for a response."


def check_import(facts: Facts) -> Iterator[Finding]:
    """It can be imported; raises ConfigError."""
    if (spec := facts.config.evaluation.verifier) is not None:
        facts.say(f"trying the verifier {spec} on one row")
        load_verifier(spec)
    yield from ()


def check_values(facts: Facts) -> Iterator[Finding]:
    """It returns a value for some row; one that fails may be the row's own fault."""
    spec = facts.config.evaluation.verifier
    if spec is None:
        return
    verifier, faults = load_verifier(spec), list[str]()
    prompts = [*facts.prompts.held_out_prompts, *facts.prompts.train_prompts]
    for prompt in islice(prompts, _ROWS_TRIED):
        value = judge(verifier, prompt.messages, prompt.reference or _TEXT)
        if not isinstance(value, str):
            break
        faults.append(value)
    if not faults:
        return
    tried = f"tried on {len(faults)} of the prompts, {faults[0]}"
    if len(faults) < min(_ROWS_TRIED, len(prompts)):
        yield warning("evaluation.verifier", f"{spec!r}: {tried}. Rows without a value are not counted.")
    else:
        advice = "It gets (messages, text), and must return a number from 0 to 1."
        yield problem("evaluation.verifier", f"{spec!r}: {tried}. {advice}")
