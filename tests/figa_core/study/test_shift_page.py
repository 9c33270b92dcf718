"""The page of the distribution shift."""

from dataclasses import replace
from io import StringIO
from typing import Any

from rich.console import Console

from figa_core.evaluation.statistics import Estimate
from figa_core.study.answers import AnswerShift
from figa_core.study.data import ShiftStudy
from figa_core.study.mmd import Discrepancy
from figa_core.study.report import shown
from figa_core.study.shift import EqualData
from figa_core.study.shift_page import render_shift
from figa_core.study.tables import NO_KL_OF_ANSWERS, distance_rows, nll_rows, sentences

NONE = Estimate(None, None, 0)


def study(model: str = "base") -> ShiftStudy:
    return ShiftStudy(
        run_id="run-1",
        shard_set_id="shards-1",
        pairs=40,
        of_pairs=50,
        compared_pairs=30,
        embedder="<b>embedder</b>",
        nll={model: dict.fromkeys(("response", "revision", "reference"), Estimate(1.25, 0.1, 40))},
        shifts={model: {"revision": Estimate(0.5, 0.1, 40), "reference": NONE}},
        reference_less_revision={model: NONE},
        kl_from_base={},
        edit_shares={"revision": Estimate(0.25, 0.01, 40), "reference": NONE},
        novel_shares={"revision": {1: 0.1, 2: None}, "reference": {1: None, 2: None}},
        discrepancies={"revision": Discrepancy(0.0123, 0.002, 40), "reference": None},
        equal_reward=None,
    )


def test_the_page_has_what_the_tables_have_and_escapes_what_is_not_ours() -> None:
    page = render_shift(study("<script>model</script>"), "2026-01-01 00:00 UTC")
    assert "<script>model" not in page
    assert "<b>embedder" not in page
    for text in ("+0.500 (0.298 to 0.702)", "25.0%", "0.0123", "0.002 *", "40 of 50 pairs"):
        assert text in page
    assert "shift-nll.csv" in page
    assert page == render_shift(study("<script>model</script>"), "2026-01-01 00:00 UTC")


def trained(**changes: Any) -> ShiftStudy:
    """Two models on 30 pairs each, with stored answers of one."""
    base, both = study(), ("FIGA", "SFT on Y")
    some = Estimate(0.2, 0.01, 40)
    models = {name: {**getattr(base, name), **dict.fromkeys(both, getattr(base, name)["base"])}
              for name in ("nll", "shifts", "reference_less_revision")}  # fmt: skip
    after = AnswerShift(12, Estimate(0.4, 0.02, 12), {1: 0.3, 2: 0.6}, Discrepancy(0.2, 0.002, 12))
    made: dict[str, Any] = {
        **models,
        "trained_on": dict.fromkeys(both, 30),
        "equal_data": (EqualData(30, *both, some, NONE, {"revision": some, "reference": NONE}),),
        "answers": {"FIGA": after},
    }
    return replace(base, **{**made, **changes})


def test_models_at_equal_data_and_answers_after_training_are_shown_on_the_page_and_in_the_terminal() -> None:
    page = render_shift(trained(), "now")
    console = Console(record=True, width=240, file=StringIO())
    for each in shown(trained()):
        console.print(each, highlight=False)
    text = console.export_text()
    for where in (page, text):
        assert "SFT on Y less FIGA" in where
        assert "+0.200 (0.180 to 0.220)" in where
        assert "30 pairs" in where
        assert "SFT on Y is further from the base than FIGA" in where
        assert "40.0%" in where
    assert NO_KL_OF_ANSWERS in page
    assert "After the training" in page


def test_a_terminal_of_80_columns_shows_every_figure_whole() -> None:
    console = Console(record=True, width=80, file=StringIO())
    for each in shown(trained()):
        console.print(each, highlight=False)
    text = console.export_text()
    assert "…" not in text
    assert text.count("+0.500 (0.298") == 3  # Ỹ − Ŷ of three models
    for whole in ("0.0123", "0.002 *", "40.0%"):
        assert whole in text


def test_models_that_cannot_be_compared_are_said_with_their_pairs() -> None:
    unequal = trained(trained_on={"FIGA": 30, "SFT on Y": 20}, equal_data=())
    assert any("No two models were trained on equally many pairs (FIGA 30, SFT on Y 20)" in line
               for line in sentences(unequal))  # fmt: skip
    rows = nll_rows(unequal)
    assert [row[rows[0].index("trained on")] for row in rows[1:]] == ["", "30 pairs", "20 pairs"]


def test_distances_say_of_how_many_pairs_they_are() -> None:
    names, *rows = distance_rows(study())
    assert [row[names.index("pairs")] for row in rows] == ["40", "0"]
    assert rows[0][names.index("embedded")] == "40"


def test_without_a_difference_there_is_no_picture() -> None:
    nothing = study()
    empty = ShiftStudy(
        **{
            **{name: getattr(nothing, name) for name in ShiftStudy.__slots__},
            "shifts": {"base": {"revision": NONE, "reference": NONE}},
        }
    )
    assert "shift-nll" not in render_shift(empty, "now")
