"""Unwanted characters: halves of surrogate pairs, and invisible ones at a text's ends. Pure."""

_INVISIBLE = "\ufeff\u200b\u2060"


def whole_characters(text: str) -> str:
    """`text` with surrogate pairs joined and single surrogates removed: no file or database accepts them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def without_invisible_ends(text: str, known: str) -> str:
    """`text` without byte order marks and zero-width spaces at its ends, if `known` has none there."""
    marks = tuple(_INVISIBLE)
    if text.lstrip().startswith(marks) and not known.lstrip().startswith(marks):
        text = text.lstrip().lstrip(_INVISIBLE)
    if text.rstrip().endswith(marks) and not known.rstrip().endswith(marks):
        text = text.rstrip().rstrip(_INVISIBLE)
    return text
