"""The base of all sections of the settings, with checks that follow from the fields' types.

TOML has no null: in every optional field "none" (or "null") means None, and so does an empty string
unless the field marks it as a value.
"""

from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

NOTHING = "none"
_WORDS_FOR_NOTHING = {NOTHING, "null"}
EMPTY_IS_A_VALUE = "an empty string is a value"
"""Marks an optional field, in its `Annotated`, in which an empty string does not mean None."""
_INTEGER_MAX = 2**63 - 1  # of a database's BIGINT


class Section(BaseModel):
    """Base of all sections: frozen; unknown fields and numbers that are not finite are errors.

    Errors never repeat the input, which may contain a password.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Words for nothing become None; values that no library below can handle are refused."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, str):
            if "\0" in value:
                raise ValueError("the text holds a NUL character; remove it")
            is_value = bool(value.strip()) or EMPTY_IS_A_VALUE in field.metadata
            if is_optional(field) and (is_word_for_none(value) or not is_value):
                return None
            if takes(field, Path) and not value.strip():
                raise ValueError("the path is empty; give one")
        if isinstance(value, bool) and not takes(field, bool):
            off = f'; "{NOTHING}" switches it off' if is_optional(field) else ""
            raise ValueError(f"true and false are not values of this setting{off}")
        return _storable(value)

    @field_validator("*", mode="after")
    @classmethod
    def _as_read(cls, value: Any) -> Any:
        """Numbers that were text, such as "5" in quotes, have the same bounds."""
        return _storable(value)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """The schema of forms, which accepts "none" for optional fields."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, field in cls.model_fields.items():
            choices = properties.get(name, {}).get("anyOf", [])
            takes_text = any(choice.get("type") == "string" for choice in choices)
            if is_optional(field) and choices and not takes_text:
                choices.append({"type": "string", "enum": [NOTHING]})
        return schema


def takes(field: FieldInfo, kind: type) -> bool:
    """Whether a field may have values of `kind`."""
    return kind in _alternatives(field)


def is_optional(field: FieldInfo) -> bool:
    return takes(field, type(None))


def is_word_for_none(text: str) -> bool:
    return text.strip().casefold() in _WORDS_FOR_NOTHING


def _alternatives(field: FieldInfo) -> tuple[Any, ...]:
    """The types that a field's annotation lists, without their validators."""
    listed = get_args(field.annotation) or (field.annotation,)
    return tuple(get_args(each)[0] if hasattr(each, "__metadata__") else each for each in listed)


def _storable(value: Any) -> Any:
    if isinstance(value, int) and abs(value) > _INTEGER_MAX:
        raise ValueError(f"the number is beyond {_INTEGER_MAX}, the largest that can be stored")
    return value
