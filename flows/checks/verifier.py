"""The verifier: imported, and tried on rows of the file of prompts."""

from collections.abc import Iterator
from itertools import islice

from figa_core.evaluation.verifier import judge, load_verifier
from figa_core.findings import Finding, problem, warning
from flows.checks.facts import Facts
from tasks.evaluate import VERIFIER_CONTRACT

_ROWS_TRIED = 3
_TEXT = "A text in place of a response."


def check_import(facts: Facts) -> Iterator[Finding]:
    """It can be imported; raises ConfigError."""
    if (spec := facts.config.evaluation.verifier) is not None:
        facts.say(f"trying the verifier {spec} on one row")
        load_verifier(spec)
    yield from ()


def check_values(facts: Facts) -> Iterator[Finding]:
    """It returns a value for some row; a single failure may be the row's fault."""
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
        yield warning("evaluation.verifier", f"{spec!r}: {tried}. Rows without a value are left out.")
    else:
        yield problem("evaluation.verifier", f"{spec!r}: {tried}. {VERIFIER_CONTRACT}")
