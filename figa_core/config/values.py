"""Checks of single settings. Each function returns its value, or raises ValueError with the problem."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticKnownError

from figa_core.inference.engine import engine_names
from figa_core.rl.methods import rl_names
from figa_core.training.objectives.registry import objective_names

TOKENS_MAX = 10_000_000

_ROUTE = "/chat/completions"
_OTHER_ROUTES = ("/completions", "/responses", "/embeddings", "/messages")  # "/models" is a base at Azure
_KEY_PREFIXES = ("sk-", "sk_", "gsk_", "hf_", "xai-", "pplx-", "AIza", "Bearer ", "r8_", "csk-", "nvapi-")
_ONE_LINE_MAX = 200
_LABEL_MAX = 1000
_TAKEN = {
    *("messages", "conversation", "tools", "documents", "chat_template", "add_generation_prompt"),
    *("continue_final_message", "tokenize", "padding", "truncation", "max_length", "return_tensors"),
    *("return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "strftime_now", "raise_exception"),
}


def not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("the text is empty; give a name")
    return text


def model_name(name: str) -> str:
    """Refuse what no provider calls a model: such a name is only found wrong at the first call."""
    if name != not_blank(name).strip() or not name.isprintable():
        raise ValueError("has white space or other invisible characters around or in it; give the bare name")
    return name


Name = Annotated[str, AfterValidator(not_blank)]
ModelName = Annotated[str, AfterValidator(model_name)]
"""A provider's name of a model."""


def _known(names: Callable[[], Sequence[str]]) -> Callable[[str], str]:
    """Refuse a name that nobody has registered."""

    def check(name: str) -> str:
        if name not in names():
            *others, last = map(repr, names())
            raise PydanticKnownError("enum", {"expected": f"{', '.join(others)} or {last}"})
        return name

    return check


def _choices(names: Callable[[], Sequence[str]]) -> Any:
    """The names in the schema of forms."""
    return Field(json_schema_extra=lambda schema: schema.update(enum=list(names())))


EngineName = Annotated[str, AfterValidator(_known(engine_names)), _choices(engine_names)]
"""A name in `inference.engine`'s registry, or "auto"."""
ObjectiveName = Annotated[str, AfterValidator(_known(objective_names)), _choices(objective_names)]


def _method_names() -> tuple[str, ...]:
    return (*objective_names(), *rl_names())


MethodName = Annotated[str, AfterValidator(_known(_method_names)), _choices(_method_names)]
"""An objective, or a method of reinforcement learning."""


def one_line(text: str) -> str:
    """Refuse a name that a terminal or a table cannot show: control characters, or too long."""
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    if len(text) > _ONE_LINE_MAX:
        raise ValueError(f"has {len(text):,} characters; give at most {_ONE_LINE_MAX}")
    return text


def quantile_or_number(value: float | str) -> float | str:
    """Refuse text that is not a quantile from "q0" to "q1"."""
    if isinstance(value, str) and re.fullmatch(r"q(0(?:\.\d+)?|1(?:\.0+)?)", value) is None:
        raise ValueError(f"{value!r} is neither a number nor a quantile such as 'q0.3' (between q0 and q1)")
    return value


def api_base_url(url: str) -> str:
    """Refuse text that is not an http URL, has a secret in it, or is the address of one route of the API."""
    wanted = "must be an http or https URL, such as https://api.openai.com/v1"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # such as a bracket without its other half
        raise ValueError(f"{wanted} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(wanted)
    if not url.isprintable() or re.search(r"[\s<>{}|\\^`]", url):
        raise ValueError("holds white space, or a placeholder in brackets; give the address itself")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment; the key comes from the environment")
    if parts.path.rstrip("/").endswith(_ROUTE):
        raise ValueError(f"must end before {_ROUTE}, which is added to it")
    if route := next((route for route in _OTHER_ROUTES if parts.path.rstrip("/").endswith(route)), None):
        raise ValueError(f"must end before {route}: {_ROUTE} is added to it")
    return url


def environment_variable(name: str) -> str:
    """Refuse text that cannot name a variable; a key is not repeated."""
    if not name.strip():
        raise ValueError("the text is empty; give the name of the environment variable that holds the key")
    if _looks_like_a_key(name):
        raise ValueError(
            "this seems to be a key itself (not repeated here). Put the key into an environment variable, "
            "give the variable's name, and renew the key if this file was shared"
        )
    if re.search(r"[\s=$]", name):
        raise ValueError("must be the bare name of an environment variable, without $, = or spaces")
    return name


def secret_block(name: str | None) -> str | None:
    """Refuse text that cannot name a Prefect Secret block; a key is not repeated."""
    if name is None:
        return None
    if _looks_like_a_key(name):
        raise ValueError(
            "this seems to be a key itself (not repeated here). Put the key into a Secret block on the "
            "Prefect server, give the block's name, and renew the key if this file was shared"
        )
    if re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) is None:
        raise ValueError("must be a block's name: lower-case letters, digits and dashes")
    return name


SecretName = Annotated[str | None, AfterValidator(secret_block)]
"""The name of a Prefect Secret block, or None."""


def function_spec(spec: str | None) -> str | None:
    """Refuse text that does not have the form "module:function"."""
    if spec is not None and not all(part.strip() for part in (spec + ":").split(":")[:2]):
        raise ValueError('must be "module:function"')
    return spec


def _looks_like_a_key(name: str) -> bool:
    mixed = all(re.search(kind, name) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return name.startswith(_KEY_PREFIXES) or len(name) > 60 or (mixed and len(name) >= 20)


def label_name(value: int | str) -> int | str:
    """A label's name, or its number, also in quotes."""
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if isinstance(number, int) and not 0 <= number <= _LABEL_MAX:
        raise ValueError(f"must be a label's name, or its number from 0 to {_LABEL_MAX}")
    return number


def template_variables(variables: dict[str, Any]) -> dict[str, Any]:
    """Values for a chat template: JSON values under names that it has no other use for."""
    if taken := sorted(_TAKEN & variables.keys()):
        raise ValueError(f"{taken[0]} is not for the settings: the program gives it to the chat template")
    try:
        text = json.dumps(variables, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"must hold texts, numbers, true or false, lists and tables: {error}") from error
    if "\\u0000" in text:
        raise ValueError("contains a NUL character")
    return variables
