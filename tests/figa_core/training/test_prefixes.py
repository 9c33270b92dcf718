"""Sequences become trees of pieces, in which a token sees what it sees in its sequence alone."""

import copy
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import example, given
from hypothesis import strategies as st

from figa_core.training.prefixes import ROOT, Tree, group_shared, paths_of, tree_of, tree_tokens
from figa_core.training.sequence import TrainingSequence, Unit

Ids = npt.NDArray[np.integer[Any]]

# Of two different tokens, so that beginnings are shared at every depth.
ids = st.lists(st.integers(0, 1), min_size=1, max_size=12).map(
    lambda tokens: np.array(tokens, dtype=np.int32)
)
ids_lists = st.lists(ids, min_size=1, max_size=12)
grains = st.sampled_from([1, 2, 3, 16])


def seen_by(tree: Tree, place: int) -> list[int]:
    """The places that attention shows a token: its ancestors' pieces, and its own up to itself."""
    starts = np.cumsum([0, *tree.lengths])
    piece = int(np.searchsorted(starts, place, side="right")) - 1
    *above, _ = paths_of(tree.parents)[piece]
    seen = [token for ancestor in above for token in range(starts[ancestor], starts[ancestor + 1])]
    return [*seen, *range(starts[piece], place + 1)]


@given(ids_lists, grains)
def test_a_token_has_the_id_and_position_of_its_sequence_and_sees_the_tokens_before_it(
    sequences: list[Ids], grain: int
) -> None:
    tree = tree_of(sequences, grain=grain)
    for sequence, places in zip(sequences, tree.places, strict=True):
        assert tree.ids_T[places].tolist() == sequence.tolist()
        assert tree.position_ids_T[places].tolist() == list(range(len(sequence)))
        assert seen_by(tree, int(places[-1])) == places.tolist()


@given(ids_lists, grains)
def test_pieces_come_after_their_parents_and_are_never_empty(sequences: list[Ids], grain: int) -> None:
    tree = tree_of(sequences, grain=grain)
    assert all(parent == ROOT or parent < piece for piece, parent in enumerate(tree.parents))
    assert min(tree.lengths) >= 1
    assert sum(tree.lengths) == len(tree.ids_T) == tree_tokens(sequences, grain=grain)
    used = {int(place) for places in tree.places for place in places}
    assert used == set(range(len(tree.ids_T)))


@given(ids_lists)
def test_with_a_grain_of_one_no_beginning_is_run_twice(sequences: list[Ids]) -> None:
    beginnings = {tuple(s[:end].tolist()) for s in sequences for end in range(1, len(s) + 1)}
    assert tree_tokens(sequences, grain=1) == len(beginnings)


@given(ids_lists, grains)
def test_sequences_part_at_multiples_of_the_grain_and_share_all_before(
    sequences: list[Ids], grain: int
) -> None:
    tree = tree_of(sequences, grain=grain)
    for piece in set(tree.parents) - {ROOT}:
        assert tree.lengths[piece] % grain == 0
    for (one, places), (other, other_places) in combinations(zip(sequences, tree.places, strict=True), 2):
        common = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        together = int((places[: len(other_places)] == other_places[: len(places)]).sum())
        if common is None:
            assert together >= min(len(one), len(other)) // grain * grain
        else:
            assert together == common // grain * grain


def test_the_answers_of_a_pair_continue_their_prompt() -> None:
    prompt, response, revision = [5, 6, 7], [1, 2, 3], [1, 4]
    tree = tree_of([np.array(prompt + response), np.array(prompt + revision)], grain=1)
    assert tree.ids_T.tolist() == [5, 6, 7, 1, 2, 3, 4]
    assert tree.position_ids_T.tolist() == [0, 1, 2, 3, 4, 5, 4]
    assert (tree.lengths, tree.parents) == ((4, 2, 1), (ROOT, 0, 0))


def test_equal_sequences_and_beginnings_of_others_need_no_piece_of_their_own() -> None:
    long = np.arange(40)
    tree = tree_of([long, long[:23], long, long[:1]], grain=16)
    assert (tree.lengths, tree.parents) == ((40,), (ROOT,))
    assert [len(places) for places in tree.places] == [40, 23, 40, 1]


def test_sequences_without_a_common_beginning_are_trees_of_their_own() -> None:
    tree = tree_of([np.arange(3), np.arange(4) + 10], grain=1)
    assert (sorted(tree.lengths), tree.parents) == ([3, 4], (ROOT, ROOT))


def test_deep_trees_need_no_recursion() -> None:
    depths = 1200
    sequences = [np.array([0] * depth + [1]) for depth in range(depths)]
    tree = tree_of(sequences, grain=1)
    assert len(tree.ids_T) == depths + depths - 1
    assert max(map(len, paths_of(tree.parents))) == depths - 1


def sequence_of(inputs: Ids, pair: int = 0) -> TrainingSequence:
    empty = np.zeros(0, dtype=np.int64)
    return TrainingSequence(pair, "revision", inputs, empty, empty, empty.astype(np.float32))


units = st.lists(st.lists(ids.map(sequence_of), min_size=1, max_size=3).map(tuple), min_size=0, max_size=10)


def cost(sequences: Sequence[TrainingSequence], grain: int) -> int:
    return tree_tokens([sequence.inputs_T for sequence in sequences], grain=grain)


def unit_of(*sequences: str) -> Unit:
    return tuple(sequence_of(np.array([*map(int, sequence)], dtype=np.int32)) for sequence in sequences)


# The first sequence begins another one of its unit, and one of the other unit.
@example([unit_of("0", "00001", "00000001"), unit_of("00000000", "00000010000")], 31, 16)
@given(units, st.integers(1, 80), grains)
def test_groups_hold_every_unit_whole_and_their_trees_are_within_the_budget(
    made: list[Unit], budget: int, grain: int
) -> None:
    groups = group_shared(made, budget, grain=grain)
    identities = [{id(sequence) for sequence in group} for group in groups]
    assert sorted(id(s) for group in groups for s in group) == sorted(id(s) for unit in made for s in unit)
    assert all(any({*map(id, unit)} <= group for group in identities) for unit in made)
    for group, of_group in zip(groups, identities, strict=True):
        whole = [unit for unit in made if {*map(id, unit)} <= of_group]
        assert len(whole) == 1 or cost(group, grain) <= budget


@given(units, st.integers(20, 80))
def test_grouping_does_not_change_its_inputs_and_repeats_itself(made: list[Unit], budget: int) -> None:
    before = copy.deepcopy(made)
    first, second = (group_shared(made, budget, grain=2) for _ in range(2))
    assert [[id(s) for s in group] for group in first] == [[id(s) for s in group] for group in second]
    for unit, same in zip(made, before, strict=True):
        for sequence, old in zip(unit, same, strict=True):
            assert sequence.inputs_T.tolist() == old.inputs_T.tolist()


def answers_of(prompt: int, count: int, *, system: int = 0, length: int = 30) -> list[Unit]:
    """Answers to one prompt of 60 tokens, after so many tokens that all prompts begin with."""
    start = [*range(1000, 1000 + system), *(100 + prompt for _ in range(60))]
    return [
        (sequence_of(np.array([*start, *(7 * prompt + answer for _ in range(length))]), pair=prompt),)
        for answer in range(count)
    ]


def test_answers_to_one_prompt_are_together_if_they_fit() -> None:
    made = [unit for answers in zip(*(answers_of(p, 3) for p in range(6)), strict=True) for unit in answers]
    groups = group_shared(made, 320, grain=1)
    assert [cost(group, 1) for group in groups] == [300, 300, 300]
    assert all(len({s.pair for s in group}) == 2 for group in groups)


def test_a_prompt_with_more_answers_than_fit_is_divided() -> None:
    groups = group_shared(answers_of(0, 7), 160, grain=1)
    assert sorted(map(len, groups)) == [1, 3, 3]


def test_a_beginning_of_all_prompts_counts_once_in_a_group() -> None:
    made = [unit for prompt in range(6) for unit in answers_of(prompt, 1, system=200)]
    groups = group_shared(made, 200 + 3 * 90, grain=1)
    assert [len(group) for group in groups] == [3, 3]
