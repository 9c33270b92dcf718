"""The words of a text in any script, and the word of each token of any tokenizer."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import ByT5Tokenizer

from figa_core.chat.format import ChatFormat
from figa_core.records import EditClass
from figa_core.weighting.alignment import edit_classes
from figa_core.weighting.words import changed_words, words_of, words_of_tokens
from tests.figa_core.chat.templates.styles import Spaces, plain_format
from tests.figa_core.weighting.test_weigh import bytes_format

SPACES: tuple[Spaces, ...] = ("bytes", "prepended", "first", "always", "kept")
TEMPLATE = "{% for m in messages %}{{ m.content }}{% if m.role == 'assistant' %}</s>{% endif %}{% endfor %}"
FORMATS = {spaces: plain_format(spaces, TEMPLATE) for spaces in SPACES}
EDITS = {
    "English": ("Your red sofa is on it's way.", "Dear Ann, your blue sofa is on its way!", "Dear Ann"),
    "German": ("Die Schuhe kommen Dienstag.", "Die Schuhe kommen übermorgen (Mittwoch).", "übermorgen"),
    "Russian": ("Ваш диван в пути.", "Ваш стол уже в пути.", "стол уже"),
    "Arabic": ("الطلب في الطريق", "الطلب وصل إلى المدينة", "وصل إلى"),
    "Hindi": ("आपका सोफा रास्ते में है", "आपका बिस्तर रास्ते में है", "बिस्तर"),
    "Chinese": ("您的沙发三天内送到。", "您的桌子五天内送达。", "桌子"),
    "Japanese": ("ソファは三日で届きます。", "テーブルは五日で届きます。", "テーブル"),
    "Thai": ("โซฟาจะมาถึงในสามวัน", "โต๊ะจะมาถึงในห้าวัน", "ต๊ะ"),
    "Korean": ("소파가 오고 있습니다.", "책상이 오고 있습니다.", "책상이"),
    "emoji": ("Done 👍", "Done 👩🏽‍🚀🎉 now", "👩🏽‍🚀🎉"),
    "JSON": ('{"item": "lamp", "n": 2}', '{"item": "desk", "n": 3.5, "ok": true}', "desk"),
    "code": ("def f(x):\n    return x", "def f(x, y):\n    return x + y", "+"),
}


def changed(chat: ChatFormat, before: str, after: str) -> tuple[list[str], list[int | None]]:
    """The changed words of `after`, and those of its tokens."""
    classes = edit_classes(chat.response_ids(before), chat.response_ids(after))[1]
    spans, words = changed_words(after, chat.response_spans(after), classes)
    changed_tokens = [EditClass(c) in (EditClass.INSERTED, EditClass.SUBSTITUTED) for c in classes]
    assert [word is not None for word in words] == changed_tokens
    assert {word for word in words if word is not None} == set(range(len(spans)))
    assert all(0 <= start < end <= len(after) for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    return [after[start:end] for start, end in spans], words


@pytest.mark.parametrize("spaces", SPACES)
@pytest.mark.parametrize("language", EDITS)
def test_changed_words_are_whole_words_in_any_language(language: str, spaces: Spaces) -> None:
    before, after, contained = EDITS[language]
    words, _ = changed(FORMATS[spaces], before, after)
    assert contained in " ".join(words), words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a well-known 3.14, no?", ["It's", "a", "well-known", "3.14", ",", "no", "?"]),
        ("(see a_b@c.org/d)", ["(", "see", "a_b@c.org/d", ")"]),
        ("wait... what?!", ["wait", "...", "what", "?!"]),
        ("您好 Ann！", ["您", "好", "Ann", "！"]),
        ("ok👍🏽 \n ok", ["ok", "👍🏽", "ok"]),
        ("Ann.您", ["Ann", ".", "您"]),
        (" \n", [" \n"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in words_of(text)] == words


def test_touching_changes_in_a_script_without_spaces_are_graded_together() -> None:
    assert changed(FORMATS["bytes"], "我要红茶。", "我要一杯咖啡。")[0] == ["一杯咖啡"]
    assert changed(FORMATS["bytes"], "我要茶。", "我要茶，谢谢。")[0] == ["，", "谢谢"]


def test_a_token_of_white_space_belongs_to_the_word_after_it_and_at_the_end_to_the_last() -> None:
    text = "ab \n\ncd "
    words = words_of(text)
    assert words_of_tokens(text, words, [(0, 2), (2, 3), (3, 5), (5, 7), (7, 8)]) == [0, 1, 1, 1, 1]
    assert words_of_tokens(text, words, [(0, 0), (2, 7), (1, 6), (8, 8)]) == [0, 1, 0, 1]


texts = st.text(st.sampled_from(" \n.,'-!é日本กำ👍🏽ab3") | st.characters(codec="utf-8"), max_size=20)


@given(texts)
def test_every_visible_character_is_in_exactly_one_word(text: str) -> None:
    words = words_of(text)
    inside = [place for start, end in words for place in range(start, end)]
    assert len(inside) == len(set(inside))
    if text.strip():
        assert set(inside) == {place for place, letter in enumerate(text) if not letter.isspace()}


@given(texts, texts.filter(bool), st.sampled_from(SPACES))
def test_every_changed_token_belongs_to_one_changed_word_and_every_word_has_a_token(
    before: str, after: str, spaces: Spaces
) -> None:
    changed(FORMATS[spaces], before, after)


def test_a_tokenizer_in_pure_python_gives_the_same_words() -> None:
    tokenizer = ByT5Tokenizer(extra_ids=0)
    tokenizer.chat_template = TEMPLATE
    chat, in_rust = ChatFormat.from_tokenizer(tokenizer), bytes_format("<e>")  # both of single bytes
    for before, after, _ in EDITS.values():
        assert changed(chat, before, after) == changed(in_rust, before, after)


@given(texts, st.sampled_from(SPACES))
def test_the_places_of_tokens_are_in_order_and_cover_the_text(text: str, spaces: Spaces) -> None:
    chat = FORMATS[spaces]
    spans = chat.response_spans(text)
    assert len(spans) == len(chat.response_ids(text))
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    covered = {place for start, end in spans for place in range(start, end)}
    assert covered >= {place for place, letter in enumerate(text) if not letter.isspace()}
