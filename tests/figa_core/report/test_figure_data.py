"""What is drawn can be read back from the link, whatever its texts hold."""

import csv
import io
import math
from urllib.parse import unquote

from figa_core.report.figure_data import csv_url

BEGINNING = "data:text/csv;charset=utf-8,"


def read_back(url: str) -> list[list[str]]:
    assert url.startswith(BEGINNING)
    return list(csv.reader(io.StringIO(unquote(url.removeprefix(BEGINNING)))))


def test_texts_and_numbers_are_read_back() -> None:
    texts = ['SFT on Ỹ, "best"', "a#b&c=d%20e", "two\nlines", "<script>'x'</script>"]
    url = csv_url([["model", "mean", "n"], *([text, 1 / 3, 600] for text in texts)])
    assert read_back(url) == [["model", "mean", "n"], *([text, "0.333333", "600"] for text in texts)]
    assert not set(url) & set("<>\"' #\n"), "nothing that ends an attribute or the address"


def test_what_is_no_number_is_an_empty_cell() -> None:
    assert read_back(csv_url([["a", "b", "c"], [None, math.nan, math.inf]])) == [
        ["a", "b", "c"],
        ["", "", ""],
    ]


def test_half_an_emoji_does_not_stop_the_report() -> None:
    assert read_back(csv_url([["half \ud83d"]])) == [["half ?"]]
