"""In a real browser: the report's examples are filtered, its data downloaded, and it is printed in light.

Look at the screenshots in build/e2e after a change.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from figa_core.report.data import ReportData
from figa_core.report.html import write_report
from figa_core.report.methods.comparison import estimate_methods
from figa_core.report.methods.html import render_methods
from figa_core.study.reward.html import render_reward_study
from figa_core.study.shift_page import render_shift
from tests.deployments.chromium import SCREENSHOTS, chromium
from tests.figa_core.report.conftest import make_scores, report_data
from tests.figa_core.report.methods.test_methods import data_of, method
from tests.figa_core.study.reward.made import study, variant
from tests.figa_core.study.test_shift_page import trained

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page  # pyright: ignore[reportMissingImports]

__all__ = ["make_scores", "report_data"]  # fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WIDTHS = (375, 800, 1400)
NAMES = ("report", "methods", "shift", "reward-study")
# A4 less the margins of the style sheet, in CSS pixels.
PAPER = {"width": round((210 - 2 * 14) / 25.4 * 96), "height": round((297 - 2 * 15) / 25.4 * 96)}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def pages(report_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The addresses of a whole report, of a comparison of methods and of both studies, by their names."""
    folder = tmp_path_factory.mktemp("report")
    write_report(report_data, folder / "report.html")
    data = data_of(*(method(name, 80.0, pairs=pairs) for name in "AB" for pairs in (100, 200)))
    others = {
        "methods": render_methods(data, estimate_methods(data)),
        "shift": render_shift(trained(), "2026-01-01 00:00 UTC"),
        "reward-study": render_reward_study(study(variant("own", 95, 80.0), variant("tenth", 60, 70.0))),
    }
    for name, html in others.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in ("report", *others)}


@pytest.fixture(scope="module")
def report(pages: dict[str, str]) -> str:
    return pages["report"]


def opened(browser: "Browser", report: str, **options: Any) -> "Page":
    """The report in a browser of its own; a message on the console, as of a refused script, is an error."""
    page = browser.new_context(**options).new_page()
    page.on("console", lambda message: pytest.fail(message.text))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(report)
    return page


def sheets_of(pdf: bytes) -> int:
    """How many sheets a PDF of Chromium has, whose objects for pages are not compressed."""
    return len(re.findall(rb"/Type\s*/Page\b", pdf))


def headings(page: "Page") -> list[str]:
    """Of the held-out answers that are shown."""
    return page.locator("#answers h3:visible").all_inner_texts()


def test_answers_are_filtered_by_type_change_and_text(browser: "Browser", report: str) -> None:
    page = opened(browser, report)
    found = page.locator("#answers")
    assert len(headings(page)) == 6
    found.get_by_label("Change").select_option("worse")
    assert headings(page) == ["Answer 1", "Answer 2"]
    found.get_by_label("Type of prompt").select_option("refund")
    assert headings(page) == ["Answer 2"]
    assert found.get_by_text("1 of 6 shown").is_visible()
    found.get_by_label("Change").select_option("all")
    found.get_by_label("Type of prompt").select_option("all")
    found.get_by_label("Text").fill("NUMBER 4")
    assert headings(page) == ["Answer 5"]
    found.get_by_label("Text").fill("no such words")
    assert found.get_by_text("0 of 6 shown").is_visible()
    assert page.locator("#examples h3").first.is_visible(), "the other examples have a filter of their own"


def test_without_scripts_everything_is_shown_and_no_filter(browser: "Browser", report: str) -> None:
    page = opened(browser, report, java_script_enabled=False)
    assert page.locator("#answers .example").count() == 6
    assert page.locator(".example:visible").count() == page.locator(".example").count() == 16
    assert page.locator(".filter:visible").count() == 0


def test_the_data_of_a_figure_is_downloaded_under_its_name(
    browser: "Browser", report: str, tmp_path: Path
) -> None:
    page = opened(browser, report, accept_downloads=True)
    with page.expect_download() as download:
        page.get_by_role("link", name="Data (CSV)").first.click()
    assert download.value.suggested_filename == "differences.csv"
    download.value.save_as(tmp_path / "data.csv")
    assert (tmp_path / "data.csv").read_text(encoding="utf-8").startswith("model,score,change against base,")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", NAMES)
def test_it_fits_every_width_in_light_and_dark(
    browser: "Browser", pages: dict[str, str], name: str, scheme: str
) -> None:
    for width in WIDTHS:
        viewport = {"width": width, "height": 1000}
        page = opened(browser, pages[name], viewport=viewport, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
        assert light == (scheme == "light")
        page.screenshot(path=SCREENSHOTS / f"{name}-{width}-{scheme}.png", full_page=True)
        page.context.close()


def test_it_is_printed_whole_and_in_light_whatever_the_reader_likes_and_filters(
    browser: "Browser", report: str
) -> None:
    page = opened(browser, report, color_scheme="dark")
    page.locator("#answers").get_by_label("Change").select_option("worse")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(17, 17, 17)"
    assert len(headings(page)) == 6
    assert page.locator("nav:visible").count() == page.locator(".filter:visible").count() == 0


@pytest.mark.parametrize("name", NAMES)
def test_on_paper_nothing_is_cut_off(browser: "Browser", pages: dict[str, str], name: str) -> None:
    """It is laid out as wide as the paper between its margins, and has the sheets that its height needs."""
    page = opened(browser, pages[name], viewport=PAPER)
    page.emulate_media(media="print")
    wider = page.evaluate(
        """[...document.querySelectorAll("table, figure, pre, .side")].filter((each) =>
            each.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map((each) => each.outerHTML.slice(0, 200))"""
    )
    assert wider == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER["width"]
    height = page.evaluate("document.documentElement.scrollHeight")
    sheets = sheets_of(page.pdf(path=SCREENSHOTS / f"{name}.pdf", format="A4", prefer_css_page_size=True))
    assert height / PAPER["height"] <= sheets <= 2 * height / PAPER["height"] + 1


def test_the_first_sheet_has_the_answer_alone(browser: "Browser", report: str) -> None:
    page = opened(browser, report, viewport=PAPER)
    page.emulate_media(media="print")
    answer = page.locator("#answer")
    box = answer.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= PAPER["height"], "it fits on one sheet"
    assert answer.evaluate("each => getComputedStyle(each).breakAfter") == "page"
    whole = sheets_of(page.pdf(format="A4", prefer_css_page_size=True))
    page.evaluate("document.querySelectorAll('#answer ~ *').forEach((each) => each.remove())")
    page.evaluate("document.querySelectorAll('main ~ *').forEach((each) => each.remove())")
    assert sheets_of(page.pdf(format="A4", prefer_css_page_size=True)) == 1 < whole


def test_a_screen_reader_is_told_what_was_removed_and_added(browser: "Browser", report: str) -> None:
    page = opened(browser, report)
    removed, added = page.locator("#examples del").first, page.locator("#examples ins").first
    said = page.locator("#examples").aria_snapshot().replace(" ]", "]")
    for marked, word in ((removed, "removed"), (added, "added")):
        text = marked.text_content()
        assert text
        assert f"[{word}: {text}]" in said
