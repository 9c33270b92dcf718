"""Chain of hindsight (Liu et al., arXiv 2302.02676): answers follow words that say how good they are."""

from figa_core.training.objectives.base import Part
from figa_core.training.objectives.sft import Sft

_GOOD, _BAD = Part("revision", "A helpful answer:\n"), Part("response", "An unhelpful answer:\n")


class Coh(Sft):
    """Mean NLL of the answers' tokens in four sequences of each pair: good, bad, bad and good, good and bad.

    The words are those of the authors' code, with a line break, and so are the four sequences. The trained
    model is asked with the words of the good answer.

    Two of the paper's regularizers are left out: the loss on the pretraining data, which is not there, and
    the random masks over earlier tokens, which packed attention has no place for.
    """

    name, label = "coh", "CoH"
    answers = ("revision", "response")
    chains = ((_GOOD,), (_BAD,), (_BAD, _GOOD), (_GOOD, _BAD))
    prompt_words = _GOOD.words
