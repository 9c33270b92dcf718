"""How far a trained model's held-out answers are from its base's."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from figa_core.study.answers import HeldOutAnswer, answer_shifts


def answers(texts: Mapping[str, str]) -> dict[str, HeldOutAnswer]:
    """A letter is a token."""
    return {prompt: HeldOutAnswer(text, tuple(map(ord, text))) for prompt, text in texts.items()}


def lengths(texts: Sequence[str]) -> np.ndarray:
    return np.array([[float(len(text))] for text in texts])


BASE = answers({f"p{n}": "abcd" + "e" * (n % 3) for n in range(30)})


def test_the_same_answers_have_no_distance() -> None:
    found = answer_shifts(BASE, {"FIGA": BASE}, lengths, 100)["FIGA"]
    assert (found.prompts, found.edit_share.mean, found.edit_share.n) == (30, 0.0, 30)
    assert set(found.novel_shares.values()) == {0.0}
    assert found.discrepancy is not None
    assert found.discrepancy.p > 0.5


def test_other_answers_have_a_distance_to_those_of_the_same_prompts() -> None:
    other = answers({f"p{n}": "abxd" + "y" * 9 for n in range(5, 40)})
    found = answer_shifts(BASE, {"FIGA": other}, lengths, 100)["FIGA"]
    assert found.prompts == 25  # that both have answered
    assert found.edit_share.mean is not None
    assert found.edit_share.mean > 0.5
    assert found.novel_shares[1] == pytest.approx(10 / 13)
    assert found.discrepancy is not None
    assert (found.discrepancy.vectors, found.discrepancy.p < 0.05) == (25, True)


def test_at_most_so_many_answers_with_words_are_embedded() -> None:
    silent = answers({**{f"p{n}": "" for n in range(10)}, **{f"p{n}": "abc" for n in range(10, 30)}})
    read = list[str]()

    def embed(texts: Sequence[str]) -> np.ndarray:
        read.extend(texts)
        return lengths(texts)

    found = answer_shifts(BASE, {"FIGA": silent}, embed, 20)["FIGA"]
    assert found.edit_share.n == 20  # an empty answer has no share
    assert found.discrepancy is not None
    assert found.discrepancy.vectors < 20
    assert "" not in read


def test_models_that_answered_nothing_are_left_out_and_nothing_is_embedded() -> None:
    def never(texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(texts)

    assert answer_shifts(BASE, {"FIGA": {}}, never, 100) == {}
    assert answer_shifts({}, {"FIGA": BASE}, never, 100) == {}
