"""Two errors are alike if they have the same words, apart from ids, numbers and quotations.

The patterns are few and simple, so that Python and the database's SQL group errors in the same way.
"""

import re

_PATTERNS = (
    (r"\"[^\"]*\"|'[^']*'|`[^`]*`", "…"),
    (r"[A-Za-z_-]*[0-9][A-Za-z0-9_.:/-]*", "#"),
    (r"\s+", " "),
)
_COMPARED_CHARACTERS = 120


def likeness(message: str | None) -> str:
    """Equal for two messages of the same error."""
    text = message or ""
    for pattern, put in _PATTERNS:
        text = re.sub(pattern, put, text)
    return text[:_COMPARED_CHARACTERS]


def likeness_sql(column: str) -> str:
    """`likeness` of a column, in SQL."""
    text = f"coalesce({column}, '')"
    for pattern, put in _PATTERNS:
        quoted = pattern.replace("'", "''")
        text = f"regexp_replace({text}, '{quoted}', '{put}', 'g')"
    return f"left({text}, {_COMPARED_CHARACTERS})"
