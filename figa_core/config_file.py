"""Reading a run's settings (`config.py`) from TOML, and saying what is wrong with them."""

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from figa_core.config import PipelineConfig
from figa_core.errors import ConfigError


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    """Read a TOML file; relative paths in it are relative to the file.

    `overrides` maps section to fields and wins over the file.

    Raises:
        ConfigError: the file is missing or no TOML, a field is missing, unknown or out of bounds.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the config: {error.strerror}. Give the path of a TOML file."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    for section, fields in (overrides or {}).items():
        given = data.setdefault(section, {})
        if isinstance(given, dict):  # anything else is refused below, by name
            given.update(fields)
    return parse_config(data, source=str(path), base=path.parent)


def parse_config(data: dict[str, Any], *, source: str, base: Path) -> PipelineConfig:
    """Validate a nested mapping; `source` is named in errors, `base` anchors relative paths.

    Raises:
        ConfigError: see `load_config`.
    """
    try:
        config = PipelineConfig.model_validate(data)
    except ValidationError as error:
        lines = [f"  {_explain(problem)}" for problem in error.errors()]
        raise ConfigError(f"{source}: {len(lines)} setting(s) to mend:\n" + "\n".join(lines)) from error
    return anchor_paths(config, base)


def _explain(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    if not location:  # about several sections at once
        return problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{location}: unknown setting{_nearest(problem['loc'])}"
    if problem["type"] == "missing":
        return f"{location}: missing; add it"
    # A URL may hold a password, and a message is logged.
    got = "" if location.endswith("url") else f" (got {problem['input']!r})"
    return f"{location}: {problem['msg']}{got}"


def _nearest(location: tuple[str | int, ...]) -> str:
    model: type[BaseModel] = PipelineConfig
    for part in location[:-1]:
        field = model.model_fields.get(str(part))  # None for a key that the user chose
        annotation = None if field is None else field.annotation
        sections = (annotation, *get_args(annotation))
        model = next((a for a in sections if isinstance(a, type) and issubclass(a, BaseModel)), model)
    known = list(model.model_fields)
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def anchor_paths(config: PipelineConfig, base: Path) -> PipelineConfig:
    """The config with every relative path taken from `base`, and "~" as the home directory."""

    def anchor(path: Path) -> Path:
        return (base / path.expanduser()).resolve()

    updates = {}
    for section, field in (
        ("workspace", "path"),
        ("prompts", "path"),
        ("generation", "model"),
        ("reward", "model"),
        ("revision_prompt", "with_reference"),
        ("revision_prompt", "without_reference"),
    ):
        model = updates.get(section, getattr(config, section))
        path = getattr(model, field)
        updates[section] = model.model_copy(update={field: path and anchor(path)})
    return config.model_copy(update=updates)
