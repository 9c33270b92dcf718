"""Keys from files, secrets and shells."""

import pytest

from figa_core.errors import ConfigError
from figa_core.llm.key import usable_key

KEY = "sk-abc_DEF-123.456/789+xyz="


@pytest.mark.parametrize("text", [KEY, KEY + "\n", KEY + "\r\n", f"  {KEY}\t", f"\ufeff{KEY}\n"])
def test_white_space_around_a_key_is_removed(text: str) -> None:
    assert usable_key(text, "the environment variable SOME_KEY", "grading.api_key_env") == KEY


@pytest.mark.parametrize("key", ["".join(map(chr, range(33, 127)))[::-1], "none", "x", "a'b\"c"])
def test_a_key_may_have_every_character_that_a_header_can_carry(key: str) -> None:
    assert usable_key(key, "the environment variable SOME_KEY", "grading.api_key_env") == key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        (f'"{KEY}"', "quotes around the key"),
        (f"'{KEY}'\n", "quotes around the key"),
        (f"“{KEY}”", "quotes around the key"),
        (f'"{KEY}', "quotes around the key"),
        (f"{KEY}’", "quotes around the key"),
        (f"Bearer {KEY}", "begins with 'Bearer'"),
        (f"{KEY} {KEY}", f"has a space at character {len(KEY) + 1}"),
        (f"{KEY}\n{KEY}", f"a line break at character {len(KEY) + 1}"),
        (f"{KEY}é", "the character U+00E9"),
        (f"{KEY}\ufeff", "the character U+FEFF"),
        (f"{KEY}\u200b", "the character U+200B"),
        (f"{KEY}\udce9", "the character U+DCE9"),
        (f"{KEY}\x07x", "the character U+0007"),
        (f"{KEY}\u00a0x", "a space"),
    ],
)
def test_an_unusable_key_is_reported_by_its_variable_and_never_shown(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=r"grading\.api_key_env: .*variable SOME_KEY") as caught:
        usable_key(text, "the environment variable SOME_KEY", "grading.api_key_env")
    assert reason in str(caught.value)
    assert KEY not in str(caught.value)
    str(caught.value).encode("ascii")
