"""A user's own verifier: a function of (messages, text) that says from 0 to 1 how good a response is.

It is code that nobody here has seen: whatever it raises or returns comes back in words.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

from figa_core.errors import ConfigError
from figa_core.findings import shortened
from figa_core.records import Message

Verifier = Callable[[Sequence[Message], str], float]

_ROUNDING = 1e-6
_SAID_MAX = 200


def load_verifier(spec: str) -> Verifier:
    """The function that "module:function" names.

    Raises:
        ConfigError: it cannot be imported, or is no function.
    """
    module_name, _, name = spec.partition(":")
    module = _import(spec, module_name)
    verifier = getattr(module, name, None)
    if verifier is None:
        raise ConfigError(f"evaluation.verifier = {spec!r}: {module_name} has no {name!r}. Correct the name.")
    if not callable(verifier):
        raise ConfigError(f"evaluation.verifier = {spec!r}: is no function. Write 'module:function'.")
    return cast(Verifier, verifier)


def judge(verifier: Verifier, messages: Sequence[Message], text: str) -> float | str:
    """The value from 0 to 1 that the verifier gives a response, or in words why there is none.

    Nothing that it raises gets out but KeyboardInterrupt.
    """
    try:
        value = verifier(messages, text)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a SystemExit of somebody's code is no reason to end here
        return f"the verifier raised {_said(error)}"
    return _from_0_to_1(value)


def _import(spec: str, module_name: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        advice = "Write 'module:function', and install the module here or put its folder into PYTHONPATH."
        raise ConfigError(
            f"evaluation.verifier = {spec!r}: cannot be imported ({error}). {advice}"
        ) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigError(
            f"evaluation.verifier = {spec!r}: cannot be imported: the module raised {_said(error)}. "
            "Correct it, or the name."
        ) from error


def _from_0_to_1(value: object) -> float | str:
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody awaited it
        return "the verifier is an async function; make it an ordinary one"
    if value is None or isinstance(value, (str, bytes)):
        return f"the verifier returned {shortened(repr(value), _SAID_MAX)}, which is no number"
    try:
        number = float(cast(float, value))  # tensors and numpy's numbers are numbers, too
    except Exception:
        return f"the verifier returned a value of type {type(value).__name__}, which is no number"
    if not -_ROUNDING <= number <= 1 + _ROUNDING:  # NaN is neither
        return f"the verifier returned {number:g}, which is not between 0 and 1"
    return math.fabs(min(max(number, 0.0), 1.0))


def _said(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {shortened(text, _SAID_MAX)}" if text else type(error).__name__
