"""Errors that differ only in ids, numbers and quotations are alike, in Python and in SQL."""

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from figa_core.llm.likeness import likeness, likeness_sql


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("you requested 5021 tokens", "you requested 700 tokens"),
        ("Request ID: req_011CQx7z failed", "Request ID: req_88b failed"),
        ("invalid value 'a draft' in messages", "invalid value 'another draft' in messages"),
        ("Ray ID: 8f2a-b1", "Ray ID: 99cc-0"),
        ("no\n such  thing", "no such thing"),
    ],
)
def test_errors_that_differ_in_ids_numbers_and_quotations_are_alike(one: str, other: str):
    assert likeness(one) == likeness(other)


def test_errors_in_different_words_are_not_alike():
    assert likeness("the model is overloaded") != likeness("the prompt was flagged")
    assert likeness(None) == ""


@given(st.text(alphabet="ab7_-.'\"` :/\n…é", max_size=60))
def test_the_database_groups_errors_as_python_does(text: str):
    found = duckdb.execute(f"SELECT {likeness_sql('t')} FROM (SELECT ? AS t)", [text]).fetchone()
    assert found == (likeness(text),)
