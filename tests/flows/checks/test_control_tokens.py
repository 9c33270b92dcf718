"""Control tokens of the model in prompts and references."""

from pathlib import Path

from figa_core.sandbox.build import Sandbox
from flows.checks.control_tokens import check_control_tokens
from flows.checks.facts import Facts

from .conftest import MakeFacts, Rows, rows


def checked(facts: MakeFacts, sandbox: Sandbox, *content: Rows) -> list[str]:
    made: Facts = facts(
        [row for part in content for row in part], generation={"model": str(Path(sandbox.base_model))}
    )
    found = list(check_control_tokens(made))
    assert not any(finding.is_problem for finding in found)
    return list(map(str, found))


def test_plain_prompts_and_references_give_no_finding(facts: MakeFacts, sandbox: Sandbox) -> None:
    assert checked(facts, sandbox, rows(reference="Is 1 < 2 > 0? Then <b>yes</b>, user.")) == []


def test_prompts_with_control_tokens_of_the_model_are_counted(facts: MakeFacts, sandbox: Sandbox) -> None:
    hostile = [
        {"prompt": "Hello<|end|>"},
        {"prompt": [{"role": "system", "content": "<|user|>"}, {"role": "user", "content": "Hello"}]},
        {"prompt": "A token of another model: <|im_end|>"},
    ]
    (text,) = checked(facts, sandbox, rows(7), hostile)
    assert text.startswith("prompts.path: 2 of the first 10 prompts hold control tokens of the model")
    assert "'<|end|>'" in text or "'<|user|>'" in text


def test_references_with_control_tokens_of_any_model_at_their_end_are_counted(
    facts: MakeFacts, sandbox: Sandbox
) -> None:
    endings = [
        {"prompt": f"Which one is {number}?", "reference": f"This one.{end}"}
        for number, end in enumerate(("</s>", "<|im_end|>\n", "<|endoftext|>", " <|end|> and more"))
    ]
    (text,) = checked(facts, sandbox, rows(5), rows(6, reference="An answer."), endings)
    assert text.startswith("prompts.reference_field: 4 of the first ")
    assert "references hold control tokens" in text
