"""Drafts that are broken at random, as a weak model's are."""

import random
import re

_PIECE = re.compile(r"\w+|\W")


def broken(text: str, rng: random.Random, edits: int) -> str:
    """`text` with words or marks lost, doubled, or replaced by others of it."""
    pieces = _PIECE.findall(text)
    for _ in range(edits):
        index, kind = rng.randrange(len(pieces)), rng.randrange(3)
        if kind == 0 and len(pieces) > 1:
            del pieces[index]
        elif kind == 1:
            pieces.insert(index, pieces[index])
        else:
            pieces[index] = rng.choice(pieces)
    return "".join(pieces)
