"""In a real browser: the report's examples are filtered, its data downloaded, and it is printed in light.

Look at the screenshots in build/e2e after a change.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from figa_core.report.data import ReportData
from figa_core.report.html import write_report
from tests.deployments.chromium import SCREENSHOTS, chromium
from tests.figa_core.report.conftest import make_scores, report_data

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page  # pyright: ignore[reportMissingImports]

__all__ = ["make_scores", "report_data"]  # fixtures

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

WIDTHS = (375, 800, 1400)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(report_data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a whole report."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(report_data, path)
    return path.as_uri()


def opened(browser: "Browser", report: str, **options: Any) -> "Page":
    """The report in a browser of its own; a message on the console, as of a refused script, is an error."""
    page = browser.new_context(**options).new_page()
    page.on("console", lambda message: pytest.fail(message.text))
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(report)
    return page


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
def test_it_fits_every_width_in_light_and_dark(browser: "Browser", report: str, scheme: str) -> None:
    for width in WIDTHS:
        viewport = {"width": width, "height": 1000}
        page = opened(browser, report, viewport=viewport, color_scheme=scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(246, 247, 249)"
        assert light == (scheme == "light")
        page.screenshot(path=SCREENSHOTS / f"report-{width}-{scheme}.png", full_page=True)
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
    page.pdf(path=SCREENSHOTS / "report.pdf", format="A4", prefer_css_page_size=True)
    assert (SCREENSHOTS / "report.pdf").stat().st_size > 10_000
