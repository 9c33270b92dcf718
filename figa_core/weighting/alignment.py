"""The tokens that differ between a response and its revision (paper §3.2).

Several edit scripts may be optimal; this is the one that `Levenshtein.editops` finds. It works on token ids,
never on text, so an edit is always a whole token.
"""

from collections.abc import Sequence

import Levenshtein

from figa_core.records import EditClass

Classes = tuple[int, ...]

# Plain ints: an enum lookup for every edit would cost as much as the alignment itself.
_INSERTED, _SUBSTITUTED, _DELETED = map(int, (EditClass.INSERTED, EditClass.SUBSTITUTED, EditClass.DELETED))


def edit_classes(before_ids: Sequence[int], after_ids: Sequence[int]) -> tuple[Classes, Classes]:
    """Classes (`EditClass` values) of every token of `before_ids` and of `after_ids`.

    A substitution marks one token on each side, a deletion one of `before_ids`, an insertion one of
    `after_ids`; all others are KEPT. Neither argument contains the end of turn.
    """
    before = bytearray(len(before_ids))
    after = bytearray(len(after_ids))
    for operation, i, j in Levenshtein.editops(before_ids, after_ids):
        if operation == "replace":
            before[i] = after[j] = _SUBSTITUTED
        elif operation == "delete":
            before[i] = _DELETED
        else:
            after[j] = _INSERTED
    return tuple(before), tuple(after)
