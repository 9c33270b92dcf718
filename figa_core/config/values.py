"""What single settings may say. Each function returns its value, or raises ValueError with what is wrong."""

import re
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_core import PydanticKnownError

from figa_core.inference.engine import engine_names
from figa_core.training.objectives.registry import objective_names

TOKENS_MAX = 10_000_000

_ROUTE = "/chat/completions"
_KEY_BEGINNINGS = ("sk-", "sk_", "gsk_", "hf_", "xai-", "pplx-", "AIza", "Bearer ", "r8_", "csk-", "nvapi-")
_NAME_LENGTH_MAX = 60
_ONE_LINE_MAX = 200


def not_blank(text: str) -> str:
    """Refuse a name that is empty or only spaces."""
    if not text.strip():
        raise ValueError("the text is empty; give a name")
    return text


Name = Annotated[str, AfterValidator(not_blank)]


def known_engine(name: str) -> str:
    """Refuse an engine that nobody has registered."""
    if name not in engine_names():
        raise ValueError(f"{name!r} is no engine; give one of {', '.join(engine_names())}")
    return name


def _with_engines(schema: dict[str, Any]) -> None:
    schema["enum"] = list(engine_names())


EngineName = Annotated[str, AfterValidator(known_engine), Field(json_schema_extra=_with_engines)]


def known_objective(name: str) -> str:
    """Refuse an objective that nobody has registered."""
    if name not in objective_names():
        *others, last = map(repr, objective_names())
        raise PydanticKnownError("enum", {"expected": f"{', '.join(others)} or {last}"})
    return name


def _with_objectives(schema: dict[str, Any]) -> None:
    schema["enum"] = list(objective_names())


ObjectiveName = Annotated[str, AfterValidator(known_objective), Field(json_schema_extra=_with_objectives)]
"""A name in `inference.engine`'s registry, or "auto"."""


def one_line(text: str) -> str:
    """Refuse a name that a terminal or a table cannot show: control characters, or too long."""
    if not text.isprintable():
        raise ValueError("must be one line of printable characters")
    if len(text) > _ONE_LINE_MAX:
        raise ValueError(f"has {len(text):,} characters; give at most {_ONE_LINE_MAX}")
    return text


def quantile_or_number(value: float | str) -> float | str:
    """Refuse text that is no quantile from "q0" to "q1"."""
    if isinstance(value, str) and re.fullmatch(r"q(0(?:\.\d+)?|1(?:\.0+)?)", value) is None:
        raise ValueError(f"{value!r} is neither a number nor a quantile such as 'q0.3' (between q0 and q1)")
    return value


def api_base_url(url: str) -> str:
    """Refuse what is no http URL, what holds a secret, and the address of one route of the API."""
    wanted = "must be an http or https URL, such as https://api.openai.com/v1"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # such as a bracket without its other half
        raise ValueError(f"{wanted} ({error})") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise ValueError(wanted)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("must hold no user, password, query or fragment; the key comes from the environment")
    if parts.path.rstrip("/").endswith(_ROUTE):
        raise ValueError(f"must end before {_ROUTE}, which is added to it")
    return url


def environment_variable(name: str) -> str:
    """Refuse what cannot name a variable; what seems to be the key itself is not repeated."""
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


def function_spec(spec: str | None) -> str | None:
    """Refuse what is not of the form "module:function"."""
    if spec is not None and not all(part.strip() for part in (spec + ":").split(":")[:2]):
        raise ValueError('must be "module:function", or "none" for no verifier')
    return spec


def _looks_like_a_key(name: str) -> bool:
    mixed = all(re.search(kind, name) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return name.startswith(_KEY_BEGINNINGS) or len(name) > _NAME_LENGTH_MAX or (mixed and len(name) >= 20)
