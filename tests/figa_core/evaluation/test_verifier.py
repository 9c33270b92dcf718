"""A verifier is unknown code: whatever it raises or returns becomes a value or a message."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from figa_core.errors import ConfigError
from figa_core.evaluation.verifier import judge, load_verifier
from figa_core.records import Message

MESSAGES = (Message("user", "a question"),)
MakeModule = Callable[[str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeModule:
    """Writes a module and returns its name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(source: str) -> str:
        name = f"{tmp_path.name}_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return make


def judged(verifier: Any) -> float | str:
    return judge(verifier, MESSAGES, "an answer")


def returning(value: Any) -> Any:
    def verifier(messages: Sequence[Message], text: str) -> Any:
        assert messages == MESSAGES
        assert text == "an answer"
        return value

    return verifier


def raising(error: BaseException) -> Any:
    def verifier(messages: Sequence[Message], text: str) -> float:
        raise error

    return verifier


def test_a_verifier_is_the_function_that_its_spec_names(module: MakeModule) -> None:
    name = module("def score(messages, text):\n    return 0.5\n")
    assert load_verifier(f"{name}:score")(MESSAGES, "an answer") == 0.5


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("math:no_such_function", "math has no 'no_such_function'"),
        ("math:pi", "there is no function of this name"),
        ("math", "math has no ''"),
        ("", "cannot be imported"),
        ("a b:c", "cannot be imported"),
        (".relative:f", "cannot be imported"),
    ],
)
def test_a_verifier_that_cannot_be_used_is_an_error_with_the_reason(spec: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluation\.verifier") as caught:
        load_verifier(spec)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def f(:\n", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('boo')", "RuntimeError: boo"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("import sys\nsys.exit()", "SystemExit"),
        ("class Odd(BaseException): pass\nraise Odd('odd')", "Odd: odd"),
        ("import no_such_dependency", "No module named 'no_such_dependency'"),
        ("from math import no_such_name", "ImportError"),
        ("x = {}['y']", "KeyError: 'y'"),
    ],
)
def test_a_module_that_raises_gives_its_message(module: MakeModule, source: str, reason: str) -> None:
    name = module(source)
    with pytest.raises(ConfigError, match=f"'{name}:f': cannot be imported") as caught:
        load_verifier(f"{name}:f")
    assert reason in str(caught.value)


def test_ctrl_c_during_an_import_or_a_call_is_passed_on(module: MakeModule) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_verifier(module("raise KeyboardInterrupt") + ":f")
    with pytest.raises(KeyboardInterrupt):
        judged(raising(KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0.0),
        (1, 1.0),
        (0.25, 0.25),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (torch.tensor(0.5), 0.5),
        (1 + 1e-9, 1.0),
        (-1e-9, 0.0),
        (-0.0, 0.0),
    ],
)
def test_any_number_from_0_to_1_is_a_value(value: Any, expected: float) -> None:
    found = judged(returning(value))
    assert found == expected
    assert isinstance(found, float)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "returned None, which is no number"),
        ("x", "returned 'x', which is no number"),
        ("0.5", "returned '0.5', which is no number"),
        (b"1", "returned b'1', which is no number"),
        (float("nan"), "returned nan, which is not between 0 and 1"),
        (float("inf"), "returned inf"),
        (57, "returned 57, which is not between 0 and 1"),
        (10**400, "returned a value of type int, which is no number"),
        (-0.1, "returned -0.1"),
        ([0.5], "returned a value of type list, which is no number"),
        ({"score": 1}, "returned a value of type dict, which is no number"),
        (torch.zeros(2), "returned a value of type Tensor, which is no number"),
        (1j, "returned a value of type complex, which is no number"),
    ],
)
def test_anything_else_gives_the_reason(value: Any, reason: str) -> None:
    assert reason in str(judged(returning(value)))


@pytest.mark.parametrize("error", [KeyError("boo"), SystemExit(1), GeneratorExit(), RecursionError()])
def test_an_exception_gives_its_type(error: BaseException) -> None:
    assert f"the verifier raised {type(error).__name__}" in str(judged(raising(error)))


def test_a_function_with_other_arguments_gives_pythons_message() -> None:
    def one(text: str) -> float:
        return 1.0

    def three(messages: object, text: str, reference: str) -> float:
        return 1.0

    assert "takes 1 positional argument but 2 were given" in str(judged(one))
    assert "missing 1 required positional argument: 'reference'" in str(judged(three))


def test_an_async_function_gives_the_reason_and_no_warning() -> None:
    async def verifier(messages: object, text: str) -> float:
        return 1.0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "async function" in str(judged(verifier))


def test_a_long_message_is_shortened() -> None:
    assert len(str(judged(raising(ValueError("x" * 100_000))))) < 300
