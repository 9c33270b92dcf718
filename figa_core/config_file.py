"""Reading a run's settings (`config.py`) from TOML, and saying everything that is wrong with them."""

import difflib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from figa_core.config import PipelineConfig
from figa_core.config_section import Section, says_nothing, takes
from figa_core.errors import ConfigError
from figa_core.findings import shortened

_BYTES_MAX = 10_000_000
_PROBLEMS_SHOWN = 25
_GOT_LENGTH = 60
# What a person may have typed a password or a key into: a message is logged.
_NEVER_REPEATED = ("base_url", "api_key_env")


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    """Read a TOML file; relative paths in it are relative to the file.

    `overrides` maps section to fields and wins over the file.

    Raises:
        ConfigError: the file is missing or no TOML, a field is missing, unknown or out of bounds.
    """
    data = _read_toml(path)
    for section, fields in (overrides or {}).items():
        given = data.setdefault(section, {})
        if isinstance(given, dict):  # anything else is refused below, by name
            given.update(fields)
    return parse_config(data, source=str(path), base=path.parent)


def parse_config(data: dict[str, Any], *, source: str, base: Path) -> PipelineConfig:
    """Validate a nested mapping; `source` is named in errors, `base` anchors relative paths.

    Raises:
        ConfigError: see `load_config`; the message lists everything that is wrong.
    """
    try:
        config = PipelineConfig.model_validate(data)
    except ValidationError as error:
        problems = [_explain(problem) for problem in error.errors()]
        said = {problem.partition(":")[0] for problem in problems}
        problems += [text for text in _path_problems(data, base) if text.partition(":")[0] not in said]
        raise ConfigError(_settings_text(source, problems)) from None
    return anchor_paths(config, base, source=source)


def anchor_paths(config: PipelineConfig, base: Path, *, source: str = "the settings") -> PipelineConfig:
    """The config with every relative path taken from `base`, and "~" as the home directory.

    Raises:
        ConfigError: a path that cannot exist; all of them are named.
    """
    if problems := list(_path_problems(config.model_dump(), base)):
        raise ConfigError(_settings_text(source, problems))
    updates: dict[str, Section] = {}
    for section, field in path_fields():
        model: Section = updates.get(section) or getattr(config, section)
        path = getattr(model, field)
        updates[section] = model.model_copy(update={field: path and _anchored(path, base)})
    return config.model_copy(update=updates)


def path_fields() -> list[tuple[str, str]]:
    """Section and field of every setting that is a path."""
    found = []
    for section, section_field in PipelineConfig.model_fields.items():
        model = section_field.annotation
        if isinstance(model, type) and issubclass(model, Section):
            found += [(section, name) for name, field in model.model_fields.items() if takes(field, Path)]
    return found


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot read the config: {said}. Give the path of a TOML file.") from error
    if len(raw) > _BYTES_MAX:
        raise ConfigError(f"{path}: cannot read the config: it has more than {_BYTES_MAX:,} bytes.")
    try:
        return tomllib.loads(_decoded(raw))
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: it is nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError is one, and so is an integer of 5 000 digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _decoded(raw: bytes) -> str:
    """The text of UTF-8 with or without a byte order mark; ValueError in words for another encoding."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise ValueError("it is encoded as UTF-16 or UTF-32. Save it as UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8. Save the file as UTF-8.") from None


def _settings_text(source: str, problems: list[str]) -> str:
    shown = [f"  {shortened(problem, 300)}" for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        shown.append(f"  and {len(problems) - _PROBLEMS_SHOWN} more")
    return "\n".join([f"{source}: {len(problems)} setting(s) to fix:", *shown])


def _explain(problem: Any) -> str:
    location = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if not location:  # about several sections at once
        return message
    if problem["type"] == "extra_forbidden":
        return f"{location}: unknown setting{_nearest(problem['loc'])}"
    if problem["type"] == "missing":
        return f"{location}: missing; add it"
    if location.endswith(_NEVER_REPEATED):
        return f"{location}: {message}"
    return f"{location}: {message} (got {shortened(repr(problem['input']), _GOT_LENGTH)})"


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


def _path_problems(data: dict[str, Any], base: Path) -> Iterator[str]:
    """What is wrong with the paths among settings that need not be valid otherwise."""
    for section, field in path_fields():
        fields = data.get(section)
        path = fields.get(field) if isinstance(fields, dict) else None
        if isinstance(path, (str, Path)) and str(path).strip() and not says_nothing(str(path)):
            try:
                _anchored(Path(path), base)
            except ValueError as error:
                yield f"{section}.{field}: {error} (got {shortened(str(path), _GOT_LENGTH)!r})"


def _anchored(path: Path, base: Path) -> Path:
    """The absolute path; ValueError in words where there can be none."""
    try:
        expanded = path.expanduser()
    except RuntimeError:
        raise ValueError(f"no home directory is known for {path.parts[0]!r}") from None
    found = base / expanded
    try:
        found = found.resolve()
        os.lstat(found)
    except RuntimeError:  # what `resolve` raises
        raise ValueError("its symbolic links lead in a circle") from None
    except (FileNotFoundError, NotADirectoryError):
        pass  # what is not there is for those to say who need it
    except OSError as error:
        raise ValueError(f"the path cannot be used: {error.strerror}") from None
    return found
