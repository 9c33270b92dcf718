"""Jinja2 templates of instructions: read, checked before a run, and rendered to chat messages.

A template has a `system` and a `user` block; without blocks all of it is the user message.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta

from figa_core.errors import ConfigError
from figa_core.files import require_regular


def render(text: str, given: Mapping[str, Any]) -> list[dict[str, str]]:
    """The chat messages of a template.

    Raises:
        jinja2.UndefinedError: the template uses an unknown name.
    """
    template = _compiled(text)
    context = template.new_context(dict(given))
    if not template.blocks:
        return [{"role": "user", "content": template.render(context.get_all()).strip("\n")}]
    return [
        {"role": role, "content": "".join(template.blocks[role](context)).strip("\n")}
        for role in ("system", "user")
        if role in template.blocks
    ]


def read_template(path: Path, example: Mapping[str, Any], needed: Sequence[str]) -> str:
    """The text of a template that can be filled in with the names and the kinds of values of `example`.

    `needed` are names whose value, a text, must be in its messages.

    Raises:
        ConfigError: the file cannot be read, is not a template, uses an unknown name, or lacks a needed one.
    """
    try:
        require_regular(path)
        text = path.read_text(encoding="utf-8")
        unknown = meta.find_undeclared_variables(_environment().parse(text)) - example.keys()
        if unknown:
            raise ConfigError(
                f"{path}: the prompt template uses {', '.join(sorted(unknown))}, but has only "
                f"{', '.join(sorted(example))}. Correct the name."
            )
        shown = render(text, example)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot read the prompt template: {reason}.") from error
    except TemplateSyntaxError as error:
        raise ConfigError(f"{path}, line {error.lineno}: not a Jinja2 template: {error.message}") from error
    except (TemplateError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: the prompt template cannot be filled in: {error}") from error
    for name in needed:
        if not any(example[name] in message["content"] for message in shown):
            raise ConfigError(f"{path}: the prompt template lacks the {name}. Put {{{{ {name} }}}} in.")
    return text


@cache
def _compiled(text: str) -> Template:
    return _environment().from_string(text)


def _environment() -> Environment:
    return Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)
