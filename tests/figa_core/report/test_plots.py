"""The figures that are drawn: read from matplotlib's axes, not from the picture."""

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import StepPatch

from figa_core.evaluation.statistics import Estimate
from figa_core.report.plots import _histogram, _interval, _smooth


@pytest.fixture
def axes() -> Axes:
    return Figure().subplots()


def test_a_histogram_shows_shares_in_per_cent_and_the_mean(axes: Axes) -> None:
    _histogram(axes, "responses", np.array([0.0, 1.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]), "red")
    filled, outline = (patch for patch in axes.patches if isinstance(patch, StepPatch))
    for patch in (filled, outline):
        shares, edges, _ = patch.get_data()
        np.testing.assert_allclose(shares, [25.0, 75.0])
        np.testing.assert_allclose(edges, [0.0, 1.0, 2.0])
    assert axes.get_ylim() == (0.0, 75.0 * 1.08)
    assert axes.yaxis.get_major_formatter()(25.0, None) == "25 %"
    assert axes.get_title(loc="left") == "responses · n = 4 · mean 1.00"
    (mean,) = axes.lines
    assert list(np.asarray(mean.get_xdata())) == [1.0, 1.0]


def test_a_running_mean_is_centred_and_cut_at_both_ends() -> None:
    values = np.arange(100.0) ** 2  # 6 % of it: three values on either side
    smooth = _smooth(values)
    assert smooth[50] == pytest.approx(values[47:54].mean())
    assert smooth[0] == pytest.approx(values[:4].mean())
    assert smooth[99] == pytest.approx(values[96:].mean())


def test_an_interval_is_drawn_with_its_mean_and_its_figure(axes: Axes) -> None:
    change = Estimate(mean=1.26, standard_error=0.5, n=20)
    assert change.interval is not None
    _interval(axes, 3, change, "red", 1)
    interval, mean = (np.asarray(line.get_xydata()).tolist() for line in axes.lines)
    assert interval == [[change.interval[0], 3.0], [change.interval[1], 3.0]]
    assert mean == [[1.26, 3.0]]
    assert [text.get_text() for text in axes.texts] == ["+1.3"]


def test_what_has_no_interval_is_not_drawn(axes: Axes) -> None:
    _interval(axes, 0, Estimate(mean=1.0, standard_error=None, n=1), "red", 1)
    assert not axes.lines
