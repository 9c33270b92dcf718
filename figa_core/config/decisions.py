"""Marks what each setting decides, in its declaration; the ids of runs and revisions follow from that.

    max_edit_share: float = rows(0.8, "Above this share of edited words …", gt=0, le=1)
    held_out_share: float = rows(0.1, "Share of prompts kept …", Always(), ge=0, lt=1)
    top_p: float = rows(1.0, "Sample from …", Within("generator"), gt=0, le=1)
    processes: int = nothing(1, "Ranks on this machine …", ge=1)

A setting that decides something is part of the run's id, but only if it is not at its default, so that a new
setting changes no stored run's id. That also holds for each setting of a table within a section, such as
`[training.schedule]`. `Always` and `Within` mark settings that have been part of it in another way since the
first release.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar

from pydantic import Field
from pydantic.fields import FieldInfo

from figa_core.config.section import Section

Part = Literal["prompts", "generator", "scorer", "reviser", "templates"]
_T = TypeVar("_T")


class Decides(StrEnum):
    """What changes with a setting's value."""

    ROWS = "rows"  # the rows of a run, or their content
    MODELS = "models"  # the models trained on them
    JUDGEMENT = "judgement"  # how the models are evaluated
    NOTHING = "nothing"  # speed, limits, addresses, paths, words


@dataclass(frozen=True, slots=True)
class Always:
    """Part of the id even at the default, as `name` if that differs from the field's.

    `at_first` is the default of the first release, if it was another one: it stays in the ids of what does
    not depend on the setting.
    """

    name: str | None = None
    at_first: Any = None


@dataclass(frozen=True, slots=True)
class Within:
    """Part of the id through this part of it, which is an id or a file's content."""

    part: Part


def _declaration(decides: Decides) -> Callable[..., Any]:
    def declare(default: Any, description: str, *marks: object, **bounds: Any) -> Any:
        field = Field(default=default, description=description, **bounds)
        field.metadata += [decides, *marks]
        return field

    return declare


rows = _declaration(Decides.ROWS)
"""Declares a setting: its default (`...` if it is required), its description, its marks and its bounds."""
models = _declaration(Decides.MODELS)
judgement = _declaration(Decides.JUDGEMENT)
nothing = _declaration(Decides.NOTHING)


@dataclass(frozen=True, slots=True)
class Setting:
    """A field of a section: its value, and the marks in its declaration.

    `section` is the section's name; that of a table within a section is "training.schedule".
    """

    section: str
    field: str
    value: Any
    at_default: bool
    decides: Decides | None
    always: Always | None
    within: Within | None

    @property
    def name_in_id(self) -> str | None:
        """The name of its value in an id; None if it is not part of ids."""
        if self.always:
            return self.always.name or self.field
        if self.within or self.at_default or self.decides is Decides.NOTHING:
            return None
        return f"{self.section}.{self.field}"


def settings_of(config: Section, *sections: str) -> Iterator[Setting]:
    """The settings of these sections of a config; of all sections if none is named.

    A list of sections, such as `[[rewards]]`, enters ids in other ways.
    """
    for name in sections or type(config).model_fields:
        section = getattr(config, name)
        if isinstance(section, Section):
            yield from settings_in(name, section)


def settings_in(name: str, section: Section) -> Iterator[Setting]:
    """The settings of a section with this name in the config, and those of the tables within it."""
    for field, declared in type(section).model_fields.items():
        value = getattr(section, field)
        if isinstance(value, Section):
            yield from settings_in(f"{name}.{field}", value)
            continue
        yield Setting(
            section=name,
            field=field,
            value=value,
            at_default=value == declared.get_default(call_default_factory=True),
            decides=mark_of(declared, Decides),
            always=mark_of(declared, Always),
            within=mark_of(declared, Within),
        )


def changed_defaults(section: type[Section]) -> dict[str, Any]:
    """The first release's defaults of the settings whose default has changed since."""
    marks = {name: mark_of(field, Always) for name, field in section.model_fields.items()}
    return {name: mark.at_first for name, mark in marks.items() if mark and mark.at_first is not None}


def mark_of(field: FieldInfo, kind: type[_T]) -> _T | None:
    """The mark of this kind in a declaration, if any."""
    return next((mark for mark in field.metadata if isinstance(mark, kind)), None)


def values_in_id(settings: Iterable[Setting]) -> dict[str, Any]:
    """The settings whose values are part of an id."""
    return {setting.name_in_id: setting.value for setting in settings if setting.name_in_id}


def values_within(part: Part, settings: Iterable[Setting]) -> dict[str, Any]:
    """The settings that belong to this part of an id."""
    return {setting.field: setting.value for setting in settings if setting.within == Within(part)}
