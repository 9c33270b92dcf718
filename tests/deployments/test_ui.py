"""In a real browser, a person fills in the form, sees the run fail, presses Retry and sees the run complete.

Look at the screenshots in build/e2e after a change.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from figa_core.config import GenerationConfig, PromptsConfig, RewardConfig
from figa_core.config.section import Section
from figa_core.sandbox.build import Sandbox
from figa_core.sandbox.teacher_process import TeacherProcess
from figa_core.sandbox.teacher_rules import TeacherFault
from tests.deployments.chromium import SCREENSHOTS, chromium
from tests.deployments.conftest import form
from tests.deployments.operation import Operation

if TYPE_CHECKING:
    from playwright.sync_api import Page  # pyright: ignore[reportMissingImports]

pytestmark = [pytest.mark.e2e, pytest.mark.distributed, pytest.mark.timeout(900)]

FAILING_SHARE = 0.1


class Browser:
    """One page, and the actions of a person on it."""

    def __init__(self, page: "Page", url: str) -> None:
        self.page, self._url = page, url

    def open(self, path: str) -> None:
        self.page.goto(f"{self._url}{path}")

    def fill(self, description: str, text: str) -> None:
        """The field below this description."""
        field = self.page.locator(f"xpath=//div[normalize-space()={description!r}]/following::textarea[1]")
        field.fill(text)

    def sees(self, text: str | re.Pattern[str], timeout_s: float = 60) -> None:
        self.page.get_by_text(text).first.wait_for(timeout=timeout_s * 1000)

    def shoot(self, name: str) -> None:
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


@pytest.fixture
def browser(serving: Operation) -> Iterator[Browser]:
    with chromium() as started:
        page = started.new_page(viewport={"width": 1400, "height": 1100})
        page.set_default_timeout(60_000)
        yield Browser(page, serving.url)


def description(section: type[Section], field: str) -> str:
    """The text above a field of the form, by which the field is found."""
    found = section.model_fields[field].description
    assert found
    return found


def _set_defaults(serving: Operation, config: dict[str, Any]) -> dict[str, str]:
    """Set the sandbox's settings in the deployment, as its owner would; returns the three omitted paths."""
    paths = {
        description(PromptsConfig, "path"): config["prompts"].pop("path"),
        description(GenerationConfig, "model"): config["generation"].pop("model"),
        description(RewardConfig, "model"): config["reward"].pop("model"),
    }
    deployment = serving.deployment("figa")
    changed = serving.api.patch(f"/deployments/{deployment['id']}", json={"parameters": {"config": config}})
    assert changed.is_success, changed.text
    return paths


def test_a_run_started_by_its_form_fails_and_completes_on_retry(
    serving: Operation, browser: Browser, sandbox: Sandbox, tmp_path: Path
) -> None:
    with TeacherProcess(faults={TeacherFault.SERVER_ERROR: FAILING_SHARE}, seed=1) as teacher:
        config = form(tmp_path, sandbox, teacher.base_url, workspace={"name": "e2e"})
        config["revision"]["max_attempts"] = 1
        fields = _set_defaults(serving, config)
        asked, port = teacher.requests(), int(teacher.base_url.split(":")[2].split("/")[0])

        browser.open("/deployments")
        browser.shoot("1-deployments")
        browser.page.get_by_role("link", name="figa", exact=True).first.click()
        browser.page.get_by_role("button", name="Run", exact=True).click()
        browser.page.get_by_text("Custom run").click()
        for description, path in fields.items():
            browser.fill(description, path)
        browser.shoot("2-form")
        browser.page.get_by_role("button", name="Submit").click()
        [run] = serving.wait_for(lambda: _runs_of(serving, "e2e"))
        browser.open(f"/runs/flow-run/{run}")
        serving.ended(run)
        asked = teacher.requests()

    browser.sees(re.compile("revisions are still open"))
    browser.sees("Failed")
    browser.shoot("3-failed")
    open_rows = int(serving.flow_run(run)["state"]["message"].split("OpenRevisionsError: ")[1].split()[0])
    assert 0 < open_rows < asked

    with TeacherProcess(port=port) as teacher:
        browser.page.get_by_role("button", name="Retry").first.click()
        browser.shoot("4-retry")
        browser.page.get_by_role("dialog").get_by_role("button", name="Retry").click()
        serving.wait_for(lambda: serving.flow_run(run)["run_count"] == 2)
        ended = serving.ended(run, 400)
        assert ended["state_type"] == "COMPLETED"
        assert teacher.requests() == open_rows
    browser.sees("Completed")
    browser.shoot("5-completed")
    _look_at_artifacts(serving, browser, run)


def _runs_of(serving: Operation, workspace: str) -> list[str]:
    runs = serving.post("/flow_runs/filter", limit=50)
    return [
        run["id"]
        for run in runs
        if run["parameters"].get("config", {}).get("workspace", {}).get("name") == workspace
    ]


def _look_at_artifacts(serving: Operation, browser: Browser, run: str) -> None:
    shown = serving.artifacts(run)
    for number, key in enumerate(("figa-funnel", "figa-failures", "figa-rewards", "figa-report"), start=6):
        browser.open(f"/artifacts/artifact/{shown[key]['id']}")
        browser.sees(key)
        if shown[key]["type"] == "image":
            picture = browser.page.locator("img[src^='data:image/svg+xml']").first
            picture.wait_for()
            assert picture.evaluate("image => image.naturalWidth") > 100
        browser.page.wait_for_timeout(1000)
        browser.shoot(f"{number}-{key}")
    with browser.page.expect_popup() if _opens_tab(browser) else browser.page.expect_navigation() as opened:
        browser.page.get_by_role("link", name="Open the report").first.click()
    del opened
    browser.sees("FIGA")
    browser.shoot("10-report")


def _opens_tab(browser: Browser) -> bool:
    link = browser.page.get_by_role("link", name="Open the report").first
    return link.get_attribute("target") == "_blank"
