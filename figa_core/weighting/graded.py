"""Weights by an LLM's scores of the changed words of Ỹ: the paper's schemes with a graded or a binary label.

A changed token gets α times its word's score over the highest score. A word with the score 0 makes no
difference: its tokens have weight 0 and do not count towards N. Ŷ gets no weight: all its tokens are KEPT, so
N does not count them either. With binary scores every factor is 1, and only the classes differ. Pure.
"""

from collections.abc import Sequence

from figa_core.records import EditClass
from figa_core.weighting.schemes import PairEdits
from figa_core.weighting.words import Span, changed_words

NO_CHANGE_MATTERS = "the grader gives every change the score 0"
ONLY_DELETES = "the revision only deletes, and weights by an LLM are for what it adds"

_KEPT, _UNIMPORTANT = int(EditClass.KEPT), int(EditClass.UNIMPORTANT)


def regrade(
    edits: PairEdits, text: str, tokens: Sequence[Span], scores: Sequence[int], highest: int
) -> tuple[PairEdits, tuple[float, ...]]:
    """The edits of a pair with Levenshtein classes, changed by its words' scores, and the factors of Ỹ.

    `text` is Ỹ, `tokens` are the places of its tokens, `scores` those of `changed_words`, 0 to `highest`.

    Raises:
        ValueError: there are more or fewer scores than changed words.
    """
    words, word_of_token = changed_words(text, tokens, edits.revision_classes)
    if len(words) != len(scores):
        raise ValueError(f"{len(scores)} scores for {len(words)} changed words")
    scored = [highest if word is None else scores[word] for word in word_of_token]
    classes = zip(edits.revision_classes, scored, strict=True)
    regraded = edits._replace(
        response_classes=(_KEPT,) * len(edits.response_classes),
        revision_classes=tuple(value if score else _UNIMPORTANT for value, score in classes),
    )
    return regraded, tuple(score / highest if score else 1.0 for score in scored)
