"""The page of the distribution shift."""

from figa_core.evaluation.statistics import Estimate
from figa_core.study.mmd import Discrepancy
from figa_core.study.report import ShiftStudy
from figa_core.study.shift_page import render_shift

NONE = Estimate(None, None, 0)


def study(model: str = "base") -> ShiftStudy:
    return ShiftStudy(
        run_id="run-1",
        shard_set_id="shards-1",
        pairs=40,
        of_pairs=50,
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


def test_without_a_difference_there_is_no_picture() -> None:
    nothing = study()
    empty = ShiftStudy(
        **{
            **{name: getattr(nothing, name) for name in ShiftStudy.__slots__},
            "shifts": {"base": {"revision": NONE, "reference": NONE}},
        }
    )
    assert "shift-nll" not in render_shift(empty, "now")
