"""When two errors are the same one: in the same words, whatever ids, figures and quotations are in them.

The patterns are few and plain, so that Python and the database's SQL group alike.
"""

import re

_PATTERNS = (
    (r"\"[^\"]*\"|'[^']*'|`[^`]*`", "…"),
    (r"[A-Za-z_-]*[0-9][A-Za-z0-9_.:/-]*", "#"),
    (r"\s+", " "),
)
_COMPILED = tuple((re.compile(pattern), put) for pattern, put in _PATTERNS)
_COMPARED_CHARACTERS = 120


def likeness(message: str | None) -> str:
    """What two messages of the same error have in common."""
    text = message or ""
    for pattern, put in _COMPILED:
        text = pattern.sub(put, text)
    return text[:_COMPARED_CHARACTERS]


def likeness_sql(column: str) -> str:
    """`likeness` of a column, as SQL."""
    text = f"coalesce({column}, '')"
    for pattern, put in _PATTERNS:
        quoted = pattern.replace("'", "''")
        text = f"regexp_replace({text}, '{quoted}', '{put}', 'g')"
    return f"left({text}, {_COMPARED_CHARACTERS})"
