import random
from itertools import chain, islice

import pytest

from figa_core.sandbox import vocabulary as v
from figa_core.sandbox.preferences import preferences, single_fault_pairs
from figa_core.sandbox.texts import mentions, stated_facts, words
from figa_core.sandbox.verifier import verify
from figa_core.sandbox.world import SLOT_FAULTS, FaultKind, draw_faults, sample_facts


def _phrases():
    styles = (v.WRITER_STYLE, v.REFERENCE_STYLE)
    parts = ("salutations", "thanks", "apologies", "statuses", "deliveries", "notes", "offers", "closings")
    replies = chain.from_iterable(getattr(style, part) for style in styles for part in parts)
    requests = (*v.REQUEST_OPENINGS, *v.REQUEST_FACTS, *v.REQUEST_QUESTIONS, *v.SYSTEM_TEXTS)
    return [*replies, *requests, *v.RUDE_SENTENCES]


def test_no_phrase_contains_a_slot_value():
    assert [(phrase, list(mentions(phrase))) for phrase in _phrases() if list(mentions(phrase))] == []


def test_no_word_belongs_to_two_slots_and_confusions_are_values_of_their_slot():
    assert len(v.SLOT_OF_WORD) == sum(len(values) for values in v.SLOT_VALUES.values())
    for slot, habits in v.CONFUSIONS.items():
        assert {*habits, *habits.values()} <= set(v.SLOT_VALUES[slot])
        assert all(value != taken for value, taken in habits.items())


@pytest.mark.parametrize("seed", range(30))
def test_a_request_states_every_fact_exactly_once(draw_case, seed):
    case = draw_case(seed)
    assert len(list(mentions(case.prompt_text))) == len(v.Slot)
    assert stated_facts(case.prompt_text) == case.facts


def test_the_same_seed_draws_the_same_case_and_another_seed_another(draw_case):
    assert draw_case(3) == draw_case(3)
    assert draw_case(3) != draw_case(4)


def test_faults_occur_at_their_rates_and_the_world_scores_about_four_fifths(draw_case):
    rng = random.Random(0)
    n = 4000
    drawn = [draw_faults(sample_facts(rng), rng) for _ in range(n)]
    shares = {kind: sum(kind in faults for faults in drawn) / n for kind in FaultKind}
    assert all(0.12 <= shares[kind] <= 0.35 for kind in SLOT_FAULTS.values()), shares
    assert shares[FaultKind.NO_CLOSING] == pytest.approx(0.15, abs=0.03)
    scores = [verify(case.messages, case.faulty.text) for case in map(draw_case, range(1500))]
    assert 0.79 <= sum(scores) / len(scores) <= 0.83


def test_replies_vary_even_for_the_same_facts(draw_case):
    openings = {draw_case(seed).good.text.split(".")[0].split(",")[1] for seed in range(200)}
    assert openings == {f" {thanks.rstrip('.')}" for thanks in v.WRITER_STYLE.thanks}


def test_replies_are_short_enough_for_small_models(draw_case):
    longest = max(len(list(words(draw_case(seed).faulty.text))) for seed in range(300))
    assert longest <= 90


def test_a_better_reply_costs_less_and_a_single_fault_costs_one():
    rng = random.Random(0)
    assert all(better.cost < worse.cost for better, worse in islice(preferences(rng), 200))
    for kind in FaultKind:
        for better, worse in islice(single_fault_pairs(rng, kind), 20):
            assert (better.cost, worse.cost) == (0, 1)
            assert better.faulty_spans == ()
            assert bool(worse.faulty_spans) == (kind is not FaultKind.NO_CLOSING)
