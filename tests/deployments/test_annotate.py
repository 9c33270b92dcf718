"""In a real browser, people judge pairs by keyboard, reload, go on, and see markup of rows as text.

Look at the screenshots in build/e2e after a change.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from figa_core.annotation.desk import Desk
from figa_core.annotation.server import HOST, application, listen
from figa_core.annotation.store import JudgementFile
from figa_core.processes.lease import workspace_lease
from figa_core.storage import people
from figa_core.storage.database import Database
from tests.deployments.chromium import SCREENSHOTS, chromium
from tests.figa_core.annotation.made import TEXTS, new_desk, open_desk

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page  # pyright: ignore[reportMissingImports]

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PHONE = {"width": 360, "height": 640}


@contextmanager
def served(desk: Desk, port: int = 0) -> Iterator[str]:
    """The page's address, while a server in a thread answers."""
    with listen(port) as listening:
        config = uvicorn.Config(application(desk), log_level="error", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(10)


def port_of(url: str) -> int:
    return int(url.rsplit(":", 1)[1].strip("/"))


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


def begin(browser: "Browser", url: str, name: str, **options: Any) -> "Page":
    """A person's own browser, on the first pair; any script's error fails the test at `errors_of`."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(20_000)
    page.goto(url)
    page.get_by_label("Your name").fill(name)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Pair 1 of 3").wait_for()
    return page


def stored(root: Path) -> dict[tuple[str, str], list[str]]:
    """The verdicts by person and pair, in the order of the changes."""
    found: dict[tuple[str, str], list[str]] = {}
    for judgement in JudgementFile(root / "annotations.sqlite").all():
        found.setdefault((judgement.annotator, judgement.pair_id), []).append(judgement.verdict)
    return found


def test_a_person_judges_by_keyboard_reloads_and_goes_on_and_another_judges_the_same(
    browser: "Browser", tmp_path: Path
) -> None:
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada")
        page.keyboard.press("1")
        page.get_by_text("Stored. 1 of 1 changes judged.").wait_for()
        page.keyboard.press("Enter")  # the button for the next pair has the focus
        page.get_by_role("heading", name="Pair 2 of 3").wait_for()
        changes = page.locator("fieldset")
        number = changes.count()
        assert number > 1
        page.keyboard.press("3")
        page.get_by_text(f"Stored. 1 of {number} changes judged.").wait_for()
        page.reload()
        page.get_by_role("heading", name="Pair 2 of 3").wait_for()
        assert changes.nth(0).get_by_label("makes it worse").is_checked()
        assert page.locator("fieldset.current").get_attribute("data-key") == changes.nth(1).get_attribute(
            "data-key"
        )
        page.screenshot(path=SCREENSHOTS / "annotate.png", full_page=True)
        for _ in range(number - 1):
            page.keyboard.press("2")
        page.get_by_text(f"Stored. {number} of {number} changes judged.").wait_for()

        other = begin(browser, url, "bob")
        other.keyboard.press("2")
        other.get_by_text("Stored. 1 of 1 changes judged.").wait_for()
        page.keyboard.press("n")
        page.get_by_role("heading", name="Pair 3 of 3").wait_for()
        page.get_by_text("2 of 3 pairs").wait_for()
    assert stored(tmp_path) == {
        ("ada", "pair-a"): ["matters"],
        ("ada", "pair-b"): ["makes it worse", *["does not"] * (number - 1)],
        ("bob", "pair-a"): ["does not"],
    }


def test_each_change_shows_its_place_and_the_texts_stay_in_view_at_the_last_one(
    browser: "Browser", tmp_path: Path
) -> None:
    height = 640
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada", viewport={"width": 1000, "height": height})
        assert page.locator("fieldset .place").text_content() == "2 + 2 = 54"
        page.goto(f"{url}#3")
        page.get_by_role("heading", name="Pair 3 of 3").wait_for()
        number = page.locator("fieldset").count()
        for _ in range(number - 1):
            page.keyboard.press("j")
        assert page.evaluate("window.scrollY") > 0
        for shown in (page.locator("#before"), page.locator("fieldset.current")):
            box = shown.bounding_box()
            assert box is not None
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= height
        for _ in range(number - 1):
            page.keyboard.press("k")
        first, texts = page.locator("fieldset.current").bounding_box(), page.locator(".sides").bounding_box()
        assert first is not None
        assert texts is not None
        assert first["y"] >= texts["y"] + texts["height"], "it is not under the texts"


def test_markup_and_scripts_of_rows_are_shown_as_text(browser: "Browser", tmp_path: Path) -> None:
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada")
        dialogs: list[str] = []

        def note(dialog: "Dialog") -> None:
            dialogs.append(dialog.message)
            dialog.dismiss()

        page.on("dialog", note)
        page.goto(f"{url}#3")
        page.get_by_role("heading", name="Pair 3 of 3").wait_for()
        assert page.locator("#before").text_content() == TEXTS["pair-c"][0]
        assert page.locator("#after").text_content() == TEXTS["pair-c"][1]
        assert page.locator("#messages .text").text_content() == "what about <pair-c>?"
        assert page.locator("main script, main img, main b").count() == 0
        assert dialogs == []


@pytest.mark.parametrize(
    ("name", "unseen"), [("\U0001f469\u200d\U0001f52c", "U+200D"), ("a\u200bda", "U+200B")]
)
def test_a_name_with_a_character_that_nobody_sees_can_be_given_anew(
    browser: "Browser", tmp_path: Path, name: str, unseen: str
) -> None:
    with served(new_desk(tmp_path)) as url:
        page = browser.new_context().new_page()
        page.set_default_timeout(20_000)
        page.goto(url)
        page.get_by_label("Your name").fill(name)
        page.keyboard.press("Enter")
        page.get_by_role("alert").get_by_text(f"invisible ones: {unseen}").wait_for()
        page.reload()
        page.get_by_label("Your name").fill("ada")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Pair 1 of 3").wait_for()


def test_what_is_judged_while_the_server_is_away_is_kept_over_a_reload_and_sent(
    browser: "Browser", tmp_path: Path
) -> None:
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada")
        port = port_of(url)
    page.keyboard.press("1")
    page.get_by_text("What you chose is kept in this browser").wait_for()
    assert stored(tmp_path) == {}
    with served(open_desk(tmp_path), port):
        page.reload()
        page.get_by_text("1 of 3 pairs").wait_for()
    assert stored(tmp_path) == {("ada", "pair-a"): ["matters"]}


def test_what_waits_for_another_run_is_kept_until_it_is_shown_again(
    browser: "Browser", tmp_path: Path
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    with served(new_desk(mine)) as url:
        page = begin(browser, url, "ada")
        port = port_of(url)
    page.keyboard.press("1")
    page.get_by_text("What you chose is kept in this browser").wait_for()
    with served(new_desk(theirs, shards="shards-2"), port):
        page.reload()
        page.get_by_text("another run or scheme that wait in this browser: 1").wait_for()
        page.get_by_role("heading", name="Pair 1 of 3").wait_for()
        page.keyboard.press("3")
        page.get_by_text("Stored. 1 of 1 changes judged.").wait_for()
    with served(open_desk(mine), port):
        page.keyboard.press("2")  # the page still shows the other run
        page.get_by_role("alert").get_by_text("What you chose is kept in this browser").wait_for()
        page.reload()
        page.get_by_text("1 of 3 pairs").wait_for()
        page.get_by_text("another run or scheme that wait in this browser: 1").wait_for()
    assert stored(mine) == {("ada", "pair-a"): ["matters"]}
    with served(open_desk(theirs, shards="shards-2"), port):
        page.reload()
        page.get_by_text("1 of 3 pairs").wait_for()
        page.locator("#waiting").wait_for(state="hidden")
    assert stored(theirs) == {("ada", "pair-a"): ["does not"]}


def test_a_newer_choice_takes_the_place_of_one_that_waits_for_its_run(
    browser: "Browser", tmp_path: Path
) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    with served(new_desk(mine)) as url:
        page = begin(browser, url, "ada")
        port = port_of(url)
    with served(new_desk(theirs, shards="shards-2"), port):
        page.keyboard.press("1")
        page.get_by_role("alert").get_by_text("What you chose is kept in this browser").wait_for()
    with served(open_desk(mine), port):
        page.keyboard.press("2")  # the page was not loaded again
        page.get_by_text("Stored. 1 of 1 changes judged.").wait_for()
        page.reload()
        page.get_by_text("1 of 3 pairs").wait_for()
    assert stored(mine) == {("ada", "pair-a"): ["does not"]}


def test_what_is_judged_of_a_pair_that_is_not_shown_for_now_is_kept(
    browser: "Browser", tmp_path: Path
) -> None:
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada")
        page.goto(f"{url}#3")
        page.get_by_role("heading", name="Pair 3 of 3").wait_for()
        number = page.locator("fieldset").count()
        port = port_of(url)
    for _ in range(number):
        page.keyboard.press("1")
    page.get_by_text("What you chose is kept in this browser").wait_for()
    with served(open_desk(tmp_path, pairs_max=1), port):
        page.reload()
        page.get_by_role("heading", name="Pair 1 of 1").wait_for()
    with served(open_desk(tmp_path), port):
        page.reload()
        page.get_by_text("1 of 3 pairs").wait_for()
    assert stored(tmp_path) == {("ada", "pair-c"): ["matters"] * number}


def test_hidden_sides_show_no_reward_and_no_name_and_the_verdict_is_the_right_way_round(
    browser: "Browser", tmp_path: Path
) -> None:
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "bo")
        page.get_by_label("Hide which side is which").check()
        page.get_by_role("heading", name="answer A", exact=True).wait_for()
        assert page.get_by_text("reward").count() == 0
        assert page.get_by_role("button", name="Correct the revision").count() == 0
        assert page.locator("#before del, #after ins").count() == 0
        second_is_right = page.locator("#after").text_content() == TEXTS["pair-a"][1]
        page.screenshot(path=SCREENSHOTS / "annotate-hidden.png", full_page=True)
        page.keyboard.press("1" if second_is_right else "3")
        page.get_by_text("Stored. 1 of 1 changes judged.").wait_for()
    assert stored(tmp_path) == {("bo", "pair-a"): ["matters"]}


def test_a_pair_is_thrown_out_put_back_and_corrected_and_not_while_a_run_is_on(
    browser: "Browser", tmp_path: Path
) -> None:
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada")
        page.get_by_role("button", name="Correct the revision").click()
        page.get_by_label("The revised response").fill("It is 4 <b>now</b>.")
        page.reload()
        page.get_by_label("The revised response").wait_for()
        assert page.get_by_label("The revised response").input_value() == "It is 4 <b>now</b>."
        with workspace_lease(tmp_path, owner="figa run"):
            page.get_by_role("button", name="Save the correction").click()
            page.get_by_role("alert").get_by_text("figa run").wait_for()
        page.get_by_role("button", name="Save the correction").click()
        page.get_by_text("Corrected by ada: the next run uses “It is 4 <b>now</b>.”").wait_for()
        page.get_by_role("button", name="Throw out").click()
        page.get_by_label("Why is it thrown out?").fill("no sums")
        page.keyboard.press("Enter")
        page.get_by_text("Thrown out by ada: no sums").wait_for()
        assert people.excluded_ids(Database(tmp_path / "figa.duckdb")) >= {"pair-a"}
        page.get_by_role("button", name="Put back").click()
        page.get_by_role("button", name="Throw out").wait_for()
    assert people.excluded_ids(Database(tmp_path / "figa.duckdb")) == set()


def test_when_nothing_is_left_the_page_says_so(browser: "Browser", tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    with served(desk) as url:
        page = begin(browser, url, "ada")
        for pair in TEXTS:
            desk.throw_out("shards-1", pair, "bob", "")
        page.keyboard.press("n")
        page.locator("#nothing").get_by_text("There is no pair left to judge.").wait_for()


def test_a_screen_reader_and_a_phone_get_everything(browser: "Browser", tmp_path: Path) -> None:
    """Every control has a name, every change is a named group, and nothing is wider than the screen."""
    with served(new_desk(tmp_path)) as url:
        page = begin(browser, url, "ada", viewport=PHONE, color_scheme="dark")
        group = page.get_by_role("group", name="“5” becomes “4”")
        assert group.get_by_role("radio").count() == 3
        for side, said in (("#before", "[removed: 5]"), ("#after", "[added: 4]")):
            assert said in page.locator(side).aria_snapshot().replace(" ]", "]")
        unnamed = page.evaluate(
            """[...document.querySelectorAll("button, input, textarea, progress")].filter((each) =>
                !(each.textContent.trim() || each.labels?.length)).map((each) => each.outerHTML)"""
        )
        assert unnamed == []
        assert page.evaluate("document.activeElement.id") == "pair"  # read from the heading on
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        group.get_by_label("matters", exact=False).first.check()
        page.get_by_role("status").get_by_text("Stored. 1 of 1 changes judged.").wait_for()
        page.screenshot(path=SCREENSHOTS / "annotate-phone.png", full_page=True)
        page.get_by_label("Single-key commands").uncheck()
        page.locator("#pair").focus()
        page.keyboard.press("3")
        assert group.get_by_label("matters", exact=False).first.is_checked()
