"""What all sections of the settings have in common, decided once here from their fields' types.

TOML has no null: in every optional field "none" (or "null") says that there is nothing, and so does an empty
string wherever that could not be meant.
"""

from pathlib import Path
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

NOTHING = "none"
_WORDS_FOR_NOTHING = {NOTHING, "null"}
EMPTY_IS_A_VALUE = "an empty string is a value of its own"
"""Marks an optional field, in its `Annotated`, in which an empty string is not read as "none"."""

INTEGER_MAX = 2**63 - 1
"""What a database's BIGINT and every library underneath take."""


class Section(BaseModel):
    """Base of all sections: frozen; unknown fields and numbers that are not finite are errors.

    Errors never repeat what was typed, which may hold a password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Nothing in words becomes None; what no library underneath would take is refused."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, str):
            if "\0" in value:
                raise ValueError("the text holds a NUL character; take it out")
            if _means_none(value, field):
                return None
            if takes(field, Path) and not value.strip():
                raise ValueError("the path is empty; give one")
        if isinstance(value, bool) and not takes(field, bool):
            off = f'; "{NOTHING}" switches it off' if is_optional(field) else ""
            raise ValueError(f"true and false are no values of this setting{off}")
        return _storable(value)

    @field_validator("*", mode="after")
    @classmethod
    def _as_read(cls, value: Any) -> Any:
        """What is a number only now, such as "5" in quotes, is held to the same bounds."""
        return _storable(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of forms, which takes "none" where the settings do."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            choices = properties.get(name, {}).get("anyOf", [])
            takes_text = any(choice.get("type") == "string" for choice in choices)
            if is_optional(field) and choices and not takes_text:
                choices.append({"type": "string", "enum": [NOTHING]})
        return schema


def takes(field: FieldInfo, kind: type) -> bool:
    """Whether values of `kind` are among those that a field may have."""
    return kind in _alternatives(field)


def is_optional(field: FieldInfo) -> bool:
    """Whether None is."""
    return takes(field, type(None))


def says_nothing(text: str) -> bool:
    """Whether a text is a word for nothing."""
    return text.strip().casefold() in _WORDS_FOR_NOTHING


def _alternatives(field: FieldInfo) -> tuple[Any, ...]:
    """The types that a field's annotation lists, without what validators add to them."""
    listed = get_args(field.annotation) or (field.annotation,)
    return tuple(get_args(each)[0] if hasattr(each, "__metadata__") else each for each in listed)


def _storable(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > INTEGER_MAX:
        raise ValueError(f"the number is beyond {INTEGER_MAX}, the largest that can be stored")
    return value


def _means_none(value: str, field: FieldInfo) -> bool:
    if not is_optional(field):
        return False
    return says_nothing(value) or not (value.strip() or EMPTY_IS_A_VALUE in field.metadata)
