"""What a study of the distribution shift found, and its JSON for programs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from figa_core.evaluation.statistics import Estimate
from figa_core.study.answers import AnswerShift
from figa_core.study.mmd import Discrepancy
from figa_core.study.shift import EqualData, EqualReward


@dataclass(frozen=True, slots=True)
class ShiftStudy:
    """What `figa study shift` found of a run.

    Attributes:
        pairs: of the shard set that were studied; `of_pairs` has all.
        compared_pairs: those whose edits, n-grams and embeddings are compared: the pairs that have Y, or all
            if none has.
        embedder: what made the embeddings, for people.
        nll: by model, the base first, and by answer: nats per token.
        shifts: by model and by answer, NLL(answer) − NLL(Ŷ) over the pairs that have both.
        reference_less_revision: by model, NLL(Y) − NLL(Ỹ).
        kl_from_base: by trained model, log p(base) − log p(model) of a token of Ŷ: an estimate of the KL
            divergence of the model from its base, from samples of the base.
        edit_shares, novel_shares, discrepancies: against Ŷ, by answer, all on the `compared_pairs`; of their
            embeddings at most 1,000.
        equal_reward: None without references.
        trained_on: by trained model, the pairs that it was trained on.
        equal_data: the models that had equal numbers of them, two by two.
        answers: by trained model, how far its stored held-out answers are from the base's.
    """

    run_id: str
    shard_set_id: str
    pairs: int
    of_pairs: int
    compared_pairs: int
    embedder: str
    nll: Mapping[str, Mapping[str, Estimate]]
    shifts: Mapping[str, Mapping[str, Estimate]]
    reference_less_revision: Mapping[str, Estimate]
    kl_from_base: Mapping[str, Estimate]
    edit_shares: Mapping[str, Estimate]
    novel_shares: Mapping[str, Mapping[int, float | None]]
    discrepancies: Mapping[str, Discrepancy | None]
    equal_reward: EqualReward | None
    trained_on: Mapping[str, int] = field(default_factory=dict)
    equal_data: tuple[EqualData, ...] = ()
    answers: Mapping[str, AnswerShift] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Every figure; estimates with their 95 % interval."""
        return _plain(asdict(self))


def _plain(value: Any) -> Any:
    """Of `asdict`: keys as text, and the interval of every estimate."""
    if isinstance(value, dict):
        found = {str(key): _plain(each) for key, each in value.items()}
        if found.keys() == {"mean", "standard_error", "n"}:
            found["interval"] = Estimate(**value).interval
        return found
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value
