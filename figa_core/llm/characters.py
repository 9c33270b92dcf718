"""Characters that are none: halves of surrogate pairs, and invisible ones at a text's ends. Pure."""

_INVISIBLE = "\ufeff\u200b\u2060"


def whole_characters(text: str) -> str:
    """`text` with pairs of surrogates joined, and single ones left out: no file or database takes them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def without_invisible_ends(text: str, known: str) -> str:
    """`text` without the byte order marks and spaces of no width at its ends that `known` has not there."""
    marks = tuple(_INVISIBLE)
    if text.lstrip().startswith(marks) and not known.lstrip().startswith(marks):
        text = text.lstrip().lstrip(_INVISIBLE)
    if text.rstrip().endswith(marks) and not known.rstrip().endswith(marks):
        text = text.rstrip().rstrip(_INVISIBLE)
    return text
