"""What is installed is compared with what the package requires."""

import pytest

from flows.operations.doctor.installation import installation_lines, unmet
from flows.operations.doctor.lines import Level

INSTALLED = {"torch": "2.13.0+cpu", "duckdb": "1.5.0"}


@pytest.mark.parametrize(
    ("required", "wrong"),
    [
        ("torch>=2.13,<2.14", []),
        ("duckdb>=2.0", ["duckdb 1.5.0, not >=2.0"]),
        ("peft>=0.21", ["peft is missing"]),
        ('wandb>=0.31; extra == "wandb"', []),
        ('tomli; python_version < "3.11"', []),
    ],
)
def test_a_requirement_that_is_not_met_is_named_with_what_is_there(required: str, wrong: list[str]) -> None:
    assert list(unmet([required], INSTALLED.get)) == wrong


def test_this_installation_is_complete() -> None:
    lines = list(installation_lines())
    assert [line.about for line in lines] == ["figa", "packages", "device", "vLLM"]
    assert all(line.level is Level.OK for line in lines), lines
