"""A user's own verifier: a function of (messages, text) that rates a response from 0 to 1.

It is unknown code: whatever it raises or returns becomes a number or a message.
"""

import importlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import cast

from figa_core.errors import ConfigError, one_line
from figa_core.findings import shortened
from figa_core.records import Message

Verifier = Callable[[Sequence[Message], str], float]

_ROUNDING = 1e-6
_WORDS_MAX = 200


def load_verifier(spec: str) -> Verifier:
    """The function named by "module:function".

    Raises:
        ConfigError: it cannot be imported, or is not a function.
    """
    module_name, _, name = spec.partition(":")
    setting = f"evaluation.verifier = {spec!r}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        advice = "Write 'module:function', and install the module here or add its folder to PYTHONPATH."
        raise ConfigError(f"{setting}: cannot be imported ({error}). {advice}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"the module raised {_words(error)}"
        raise ConfigError(f"{setting}: cannot be imported: {reason}. Correct it, or the name.") from error
    verifier = getattr(module, name, None)
    if verifier is None:
        raise ConfigError(f"{setting}: {module_name} has no {name!r}. Correct the name.")
    if not callable(verifier):
        raise ConfigError(f"{setting}: there is no function of this name. Write 'module:function'.")
    return cast(Verifier, verifier)


def judge(verifier: Verifier, messages: Sequence[Message], text: str) -> float | str:
    """The verifier's value from 0 to 1 for a response, or the reason why there is none.

    Of its exceptions only KeyboardInterrupt is passed on.
    """
    try:
        value = verifier(messages, text)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a SystemExit in a user's code must not end the run
        return f"the verifier raised {_words(error)}"
    return _from_0_to_1(value)


def _from_0_to_1(value: object) -> float | str:
    if inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()  # or Python warns that nobody awaited it
        return "the verifier is an async function; make it an ordinary one"
    if value is None or isinstance(value, (str, bytes)):
        return f"the verifier returned {shortened(repr(value), _WORDS_MAX)}, which is no number"
    try:
        number = float(cast(float, value))  # tensors and numpy's numbers count
    except Exception:
        return f"the verifier returned a value of type {type(value).__name__}, which is no number"
    if not -_ROUNDING <= number <= 1 + _ROUNDING:  # nor is NaN
        return f"the verifier returned {number:g}, which is not between 0 and 1"
    return math.fabs(min(max(number, 0.0), 1.0))


def _words(error: BaseException) -> str:
    kind, words = type(error).__name__, one_line(error)
    return kind if words == kind else f"{kind}: {shortened(words, _WORDS_MAX)}"
