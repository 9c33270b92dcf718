"""Cuts a response before a text that ends it, such as "\\nUser:"."""

from collections.abc import Collection, Sequence

from figa_core.chat.format import ChatFormat
from figa_core.chat.turn import Ids


def before_stop(chat: ChatFormat, ids: Sequence[int], stops: Collection[str]) -> Ids | None:
    """The ids of what the model wrote before the first of the texts `stops`; None if it wrote none of them.

    The first is the one that ends first, as for vLLM. If a token spans its beginning, the part of that token
    before it is tokenized anew.
    """
    ids, text = tuple(ids), chat.decode(ids)
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    if not found:
        return None
    wanted = text[: min(found)[1]]
    low, high = 0, len(ids)
    while low < high:  # the most tokens whose text is not more than what is wanted
        middle = (low + high + 1) // 2
        if wanted.startswith(chat.decode(ids[:middle])):
            low = middle
        else:
            high = middle - 1
    rest = wanted[len(chat.decode(ids[:low])) :]
    kept = ids[:low] + (chat.response_ids(rest) if rest else ())
    # A tokenizer may put a space before a text, and so before the rest.
    return kept if chat.decode(kept) == wanted else chat.response_ids(wanted)
