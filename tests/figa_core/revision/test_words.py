"""Words in any script, and comparisons of two texts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.revision.words import (
    count_words,
    coverage,
    edit_share,
    find_words,
    kept_words,
    place_words,
    restore_ends,
)

texts = st.text("ab c.\n灯到", max_size=12)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The lamp, it's red.", ["the", "lamp", "it", "s", "red"]),
        ("**bold** _and_ #1", ["bold", "and", "1"]),
        ("灯3天到。", ["灯", "3", "天", "到"]),
        ("ของ", ["ข", "อ", "ง"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("दिन में", ["दिन", "में"]),
        ("كِتَاب", ["كِتَاب"]),
    ],
)
def test_words_are_found_in_any_script(text: str, words: list[str]):
    assert [word.key for word in find_words(text)] == words


@given(texts)
def test_a_word_has_the_place_that_it_states(text: str):
    assert all(text[word.start : word.end].casefold() == word.key for word in find_words(text))


@pytest.mark.parametrize(
    ("text", "count"),
    [("", 0), ("two words", 2), ("您的灯将在三天内到达", 5), ("灯", 1), ("lamp 灯泡 lamp", 3)],
)
def test_in_scripts_without_spaces_two_characters_count_as_a_word(text: str, count: int):
    assert count_words(text) == count


def test_the_edit_share_counts_words():
    assert edit_share("a b c d", "a x c d") == pytest.approx(0.25)
    assert edit_share("a b", "a b") == 0
    assert edit_share("a b", "c d") == 1


@pytest.mark.parametrize(
    ("draft", "revision", "rewrite"),
    [
        (
            "您的包裹已于星期一离开仓库，将于星期五中午之前送达。",
            "您的包裹已于星期一离开仓库，将于星期四中午之前送达。",
            "今天的天气很好，我们一起去公园散步，然后在湖边的餐厅吃午饭。",
        ),
        (
            "お荷物は月曜日に倉庫を出発し、金曜日に到着します。",
            "お荷物は月曜日に倉庫を出発し、木曜日に到着します。",
            "今日は天気がいいので、公園を散歩してから湖のそばで昼ごはんを食べましょう。",
        ),
        (
            "โคมไฟของคุณจะมาถึงกรุงโรมในห้าวัน",
            "โคมไฟของคุณจะมาถึงกรุงโรมในสามวัน",
            "อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะกันเถอะ",
        ),
    ],
)
def test_scripts_without_spaces_have_an_edit_share_too(draft: str, revision: str, rewrite: str):
    assert 0 < edit_share(draft, revision) < 0.4
    assert edit_share(draft, rewrite) > 0.8


@given(texts, texts)
def test_the_same_words_are_kept_wherever_they_are_placed(draft: str, answer: str):
    there, here = find_words(draft), find_words(answer)
    kept = kept_words(there, here)
    for late in (False, True):
        places = place_words(there, here, kept, late=late)
        assert [index for index in places if index is not None] == kept
        assert all(here[i].key == there[index].key for i, index in enumerate(places) if index is not None)


def test_words_are_placed_as_early_or_as_late_as_they_can_be():
    there, here = find_words("the lamp"), find_words("the x the lamp the lamp")
    kept = kept_words(there, here)
    assert place_words(there, here, kept) == [0, None, None, 1, None, None]
    assert place_words(there, here, kept, late=True) == [None, None, None, None, 0, 1]


def test_coverage_is_a_share_of_letters_in_order():
    assert coverage(find_words("ab cdef"), "x cdef y") == pytest.approx(4 / 6)
    assert coverage(find_words("a b"), "b a") == pytest.approx(0.5)
    assert coverage([], "x") == 0


@given(st.text(" \nab", min_size=1), st.text(" \nab"))
def test_restored_ends_are_the_drafts(draft: str, answer: str):
    restored = restore_ends(draft, answer)
    assert restored.strip() == answer.strip()
    if draft.strip() and answer.strip():
        assert restored[: len(restored) - len(restored.lstrip())] == draft[: len(draft) - len(draft.lstrip())]
        assert restored[len(restored.rstrip()) :] == draft[len(draft.rstrip()) :]
    assert restore_ends(draft, restored) == restored


@pytest.mark.parametrize(
    ("draft", "answer", "restored"),
    [(" a ", "b", " b "), ("a", " b\n", "b"), ("", " b ", "b"), ("  ", "b", "b"), ("a", "  ", "")],
)
def test_an_answer_without_text_stays_empty_and_a_draft_without_text_has_no_ends(
    draft: str, answer: str, restored: str
) -> None:
    assert restore_ends(draft, answer) == restored
