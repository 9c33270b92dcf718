"""Reads a run's settings (`figa_core.config`) from TOML, and reports every problem with them."""

import copy
import difflib
import os
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from figa_core.config import PipelineConfig, reward_problem
from figa_core.config.rewards import KINDS
from figa_core.config.section import Section, is_word_for_none, takes
from figa_core.errors import ConfigError
from figa_core.files import open_regular
from figa_core.findings import shortened

_BYTES_MAX = 10_000_000
_PROBLEMS_SHOWN = 25
_GOT_LENGTH = 60
_VARIABLE = re.compile(r"\$\w+|\$\{\w+\}|%\w+%")  # as a shell would expand it
_Section = TypeVar("_Section", bound=Section)
_TYPES_TRIED = {
    "bool",
    "int",
    "float",
    "str",
    "constrained-int",
    "constrained-float",
    "literal['auto']",
    "literal['all']",
}
# Settings that may contain a password or a key by mistake; messages are logged.
_NEVER_REPEATED = ("base_url", "api_key_env", "api_key_secret", "storage.artifacts")
_LISTED = "rewards"


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """The settings of a file or a form, and every problem with them.

    If there are problems, `config` has the settings without the `wrong` ones ("section.field"), so that other
    checks can find more problems; None if a required setting is wrong.
    """

    source: str
    config: PipelineConfig | None
    problems: tuple[str, ...] = ()
    wrong: frozenset[str] = frozenset()

    def usable(self) -> PipelineConfig:
        """The settings; raises ConfigError with all problems."""
        if self.problems or self.config is None:
            raise ConfigError(self.text())
        return self.config

    def text(self) -> str:
        shown = [f"  {shortened(problem, 300)}" for problem in self.problems[:_PROBLEMS_SHOWN]]
        if len(self.problems) > _PROBLEMS_SHOWN:
            shown.append(f"  and {len(self.problems) - _PROBLEMS_SHOWN} more")
        return "\n".join([f"{self.source}: {len(self.problems)} setting(s) to fix:", *shown])


def load_config(path: Path, overrides: dict[str, Any] | None = None) -> PipelineConfig:
    """Read a TOML file; relative paths in it are relative to the file.

    `overrides` maps section to fields and wins over the file. Raises ConfigError with all problems: the file
    is missing or not TOML, or fields are missing, unknown or out of bounds.
    """
    return read_settings(path, overrides).usable()


def read_settings(path: Path, overrides: dict[str, Any] | None = None) -> ReadSettings:
    """As `load_config`, for callers that look for more problems: only an unreadable file is a ConfigError."""
    data = _read_toml(path)
    for section, fields in (overrides or {}).items():
        given = data.setdefault(section, {})
        if isinstance(given, dict):  # anything else is refused below
            given.update(fields)
    return _read(data, source=str(path), base=path.parent)


def parse_config(data: dict[str, Any], *, source: str, base: Path) -> PipelineConfig:
    """As `load_config`, for a nested mapping; `source` is named in errors, `base` anchors relative paths."""
    return _read(data, source=source, base=base).usable()


def _read(data: dict[str, Any], *, source: str, base: Path) -> ReadSettings:
    try:
        return _read_tables(data, source=source, base=base)
    except RecursionError:
        raise ConfigError(f"{source}: the settings are nested too deeply.") from None


def _read_tables(data: dict[str, Any], *, source: str, base: Path) -> ReadSettings:
    paths = dict(_path_problems(data, base))
    try:
        config = PipelineConfig.model_validate(data)
        found: list[Any] = []
    except ValidationError as error:
        config, found = None, [problem for problem in error.errors() if problem["loc"]]
    problems: dict[str, str] = {}
    if words := reward_problem(data.get("reward"), data.get("rewards")):
        problems["reward"] = words
    for problem in found:  # one per setting: the first of the types that its value was tried as
        problems.setdefault(_setting(problem["loc"]), _explain(problem))
    problems = {**paths, **problems}
    if config is None or paths:
        config = _left(data, [problem["loc"] for problem in found], paths)
    if config is not None:
        config = anchor_paths(config, base)
    return ReadSettings(source, config, tuple(problems.values()), frozenset(problems))


def _left(
    data: dict[str, Any], wrong: list[tuple[str | int, ...]], paths: Collection[str]
) -> PipelineConfig | None:
    """The settings without the wrong ones; None if a required one is wrong."""
    left = copy.deepcopy(data)
    for section, *field in [*wrong, *(path.split(".") for path in paths)]:
        if section == _LISTED:
            return None
        fields = left.get(section) if field else left
        if isinstance(fields, dict):
            fields.pop(field[0] if field else section, None)
    try:
        return PipelineConfig.model_validate(left)
    except ValidationError:
        return None


def anchor_paths(config: PipelineConfig, base: Path) -> PipelineConfig:
    """The config with every relative path taken from `base`, and "~" as the home directory.

    Raises ConfigError if paths cannot exist; all are named.
    """
    if problems := [text for _, text in _path_problems(config.model_dump(), base)]:
        raise ConfigError(ReadSettings("the settings", None, tuple(problems)).text())
    anchored = _anchored(config, base)
    return anchored.model_copy(update={_LISTED: tuple(_anchored(each, base) for each in config.rewards)})


def _anchored(section: _Section, base: Path) -> _Section:
    """A section with the tables within it; one without a path stays as it is."""
    given = {name: getattr(section, name) for name in _path_fields_of(type(section))}
    changes: dict[str, Any] = {name: absolute_path(path, base) for name, path in given.items() if path}
    for name, value in section:
        if isinstance(value, Section) and (found := _anchored(value, base)) is not value:
            changes[name] = found
    return section.model_copy(update=changes) if changes else section


def path_fields() -> list[tuple[str, str]]:
    """Section and field of every setting that is a path, but for those of `[[rewards]]`.

    The section of one in a table is the table's name, such as "evaluation.harness".
    """
    return list(_paths_within(PipelineConfig, ""))


def _paths_within(section: type[Section], name: str) -> Iterator[tuple[str, str]]:
    for field, declared in section.model_fields.items():
        for model in (declared.annotation, *get_args(declared.annotation)):
            if isinstance(model, type) and issubclass(model, Section):
                table = f"{name}.{field}" if name else field
                yield from ((table, each) for each in _path_fields_of(model))
                yield from _paths_within(model, table)


def _path_fields_of(section: type[Section]) -> list[str]:
    return [name for name, field in section.model_fields.items() if takes(field, Path)]


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        with open_regular(path) as file:
            raw = file.read(_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{shortened(str(path), 250)}: cannot read the config: {reason}. Give the path of a TOML file."
        ) from error
    if len(raw) > _BYTES_MAX:
        raise ConfigError(f"{path}: cannot read the config: it has more than {_BYTES_MAX:,} bytes.")
    try:
        return tomllib.loads(_decoded(raw))
    except RecursionError:
        raise ConfigError(f"{path}: not valid TOML: it is nested too deeply.") from None
    except ValueError as error:  # TOMLDecodeError is one; an integer of 5 000 digits also raises it
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def _decoded(raw: bytes) -> str:
    """Decode UTF-8 with or without a byte order mark; ValueError with a message for other encodings."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise ValueError("it is encoded as UTF-16 or UTF-32. Save it as UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not UTF-8. Save the file as UTF-8.") from None


def _explain(problem: Any) -> str:
    location = _setting(problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"{location}: unknown setting{_nearest(problem['loc'])}"
    if problem["type"] == "missing":
        return f"{location}: missing; add it"
    if problem["type"] == "model_type":
        message = f"must be a table: a line [{location}], and its settings below it"
    if location.endswith(_NEVER_REPEATED):
        return f"{location}: {message}"
    return f"{location}: {message} (got {shortened(repr(problem['input']), _GOT_LENGTH)})"


def _setting(location: tuple[str | int, ...]) -> str:
    """The setting's name, without the type that pydantic tried ("section.field.float")."""
    if len(location) > 2 and location[-1] in _TYPES_TRIED:
        location = location[:-1]
    if len(location) > 2 and location[0] == _LISTED and location[2] in KINDS:
        location = (*location[:2], *location[3:])
    return ".".join(map(str, location))


def _nearest(location: tuple[str | int, ...]) -> str:
    model: type[BaseModel] = PipelineConfig
    named = str(location[-1])
    if len(location) > 3 and location[0] == _LISTED:
        model, location = KINDS[str(location[2])], location[3:]
    for part in location[:-1]:
        field = model.model_fields.get(str(part))  # None for a key of the user's
        annotation = None if field is None else field.annotation
        sections = (annotation, *get_args(annotation))
        model = next((a for a in sections if isinstance(a, type) and issubclass(a, BaseModel)), model)
    if location[:2] == ("spending", "prices"):
        return '; a model\'s name with a dot in it is quoted: [spending.prices."gpt-4.1"]'
    known = list(model.model_fields)
    close = difflib.get_close_matches(named, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known here: {', '.join(known)}"


def _path_problems(data: dict[str, Any], base: Path) -> Iterator[tuple[str, str]]:
    """Setting and message for every impossible path; the other settings need not be valid."""
    for setting, path in given_paths(data):
        if isinstance(path, (str, Path)) and str(path).strip() and not is_word_for_none(str(path)):
            try:
                absolute_path(Path(path), base)
            except ValueError as error:
                yield setting, f"{setting}: {error} (got {shortened(str(path), _GOT_LENGTH)!r})"


def given_paths(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Setting and value of every path in settings as they are written, those of `[[rewards]]` too."""
    for section, field in path_fields():
        fields: Any = data
        for table in section.split("."):
            fields = fields.get(table) if isinstance(fields, Mapping) else None
        if isinstance(fields, Mapping):
            yield f"{section}.{field}", fields.get(field)
    listed = data.get(_LISTED)
    for place, fields in enumerate(listed if isinstance(listed, (list, tuple)) else ()):
        for kind in KINDS.values() if isinstance(fields, dict) else ():
            for field in _path_fields_of(kind):
                yield f"{_LISTED}.{place}.{field}", fields.get(field)


def absolute_path(path: Path, base: Path) -> Path:
    """The path relative to `base`, "~" as the home directory; ValueError with a message if impossible."""
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
        if variable := _VARIABLE.search(str(path)):
            raise ValueError(f"{variable[0]} is not expanded here; write the path itself") from None
        if str(path) != str(path).strip() or not str(path).isprintable():
            raise ValueError("begins or ends with white space, or has invisible characters in it") from None
        # Callers that need the file report other missing paths.
    except OSError as error:
        raise ValueError(f"the path cannot be used: {error.strerror}") from None
    return found
