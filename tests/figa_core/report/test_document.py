"""The report is one safe, self-contained and deterministic file, readable for all."""

import base64
import dataclasses
import hashlib
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from figa_core.records import EditClass, Message
from figa_core.report import plots, svg
from figa_core.report.data import (
    Example,
    HeldOutAnswer,
    ModelScores,
    ReportData,
    RevisionCalls,
    RewardSamples,
    Span,
    TrainingCurve,
)
from figa_core.report.funnel import Drop, Funnel, FunnelStep
from figa_core.report.html import render_report, write_report
from tests.figa_core.report.page import EMPTY, EVIL, Page


def test_nothing_is_loaded_and_there_is_no_script_but_the_one_that_the_page_allows(html: str) -> None:
    page = Page(html)
    assert not [tag for tag, _ in page.tags if tag in {"iframe", "object", "embed", "base", "form"}]
    [script] = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    )
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "action", "srcset", "data"}:
                assert value is not None
                assert value.startswith(("#", "data:,", "data:text/csv;charset=utf-8,")), (tag, name, value)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    # The only address is text: the reviser's endpoint.
    assert set(re.findall(r"https?://[^\s<\"]+", html)) == {"http://127.0.0.1:8123/v1"}


def test_ids_are_unique_and_references_resolve(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {
        value[1:] for _, a in page.tags for n, value in a.items() if n == "href" and value and value[0] == "#"
    }
    targets |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert targets <= set(ids)


def test_equal_data_gives_equal_bytes_also_from_threads(report_data: ReportData, html: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        rendered = list(pool.map(render_report, [report_data, report_data]))
    assert rendered == [html, html]


def test_rendering_leaves_matplotlib_settings_as_they_were(report_data: ReportData) -> None:
    before = dict(svg.mpl.rcParams)
    assert plots.reward_histograms(report_data.rewards) is not None
    assert dict(svg.mpl.rcParams) == before


def test_edits_are_marked_by_element_and_class_not_by_colour_alone(html: str) -> None:
    for markup in (
        '<del class="edit deleted"',
        '<del class="edit substituted"',
        '<ins class="edit inserted"',
    ):
        assert markup in html
    css = html[html.index("<style>") : html.index("</style>")]
    assert "line-through" in css
    assert "underline" in css
    assert '<ins class="edit deleted"' not in html


def hostile_data() -> ReportData:
    span = Span(EVIL, EditClass.SUBSTITUTED, 3)
    example = Example(
        (Message(EVIL, EVIL),),
        (span,),
        (span, Span(EVIL, EditClass.END_OF_TURN, 1)),
        0.0,
        1.0,
        EVIL,
        2.0,
        EVIL,
    )
    answers = tuple(HeldOutAnswer((Message(EVIL, EVIL),), EVIL, EVIL, 0.0, 1.0, EVIL + mark) for mark in "ab")
    return ReportData(
        workspace=EVIL,
        run_id=EVIL,
        created_at=EVIL,
        funnel=Funnel((FunnelStep(EVIL, 2), FunnelStep("kept", 1, (Drop(EVIL, 1),)))),
        rewards=RewardSamples(initial=(1.0,)),
        examples=(example,),
        curves=(TrainingCurve(EVIL, (1, 2), {EVIL: (1.0, 2.0)}, {EVIL: EVIL}),),
        base=ModelScores("base", {"a": 1.0, "b": 2.0}),
        main=ModelScores(EVIL, {"a": 2.0, "b": 4.0}),
        baselines=(ModelScores("$x^{ " + EVIL, {"a": 2.0, "b": 4.1}),),
        configuration={EVIL: {EVIL: EVIL, "api_key": "sk-123"}},
        versions={EVIL: EVIL},
        revision_calls=RevisionCalls(EVIL, 1, {EVIL: 1}, {EVIL: 1}, cost=EVIL),
        notes=(EVIL,),
        answers=answers,
        failure=EVIL,
        types={"a": EVIL, "b": EVIL + "b"},
        alarms={EVIL: (EVIL,)},
    )


def test_text_of_models_and_users_is_never_markup() -> None:
    text = render_report(hostile_data())
    page = Page(text)
    assert [tag for tag, _ in page.tags if tag in {"script", "img"}] == ["script"], "the page's own"
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert EVIL in "".join(page.text)
    assert "49" not in "".join(page.text)
    assert "sk-123" not in text


def test_headings_are_in_order_and_every_table_header_has_a_scope(html: str) -> None:
    page = Page(html)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert {a.get("scope") for tag, a in page.tags if tag == "th"} == {"col", "row"}
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert not re.findall(r"<th[^>]*></th>", html), "an empty header tells nothing"


def test_a_report_is_written_whole_even_with_a_lone_surrogate(tmp_path: Path) -> None:
    target = tmp_path / "new" / "report.html"
    write_report(dataclasses.replace(EMPTY, notes=("half \ud83d an emoji",)), target)
    assert "half ? an emoji" in target.read_text(encoding="utf-8")
    assert list(target.parent.iterdir()) == [target]


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine to open the report with")
def test_a_browser_shows_it_without_a_console_message_and_without_sideways_scrolling(
    html: str, tmp_path: Path
) -> None:
    # Measured inside a frame, because headless windows have a minimum width.
    probe = (
        '<iframe id="f" style="width:400px;height:800px" srcdoc=""></iframe><p id="out"></p><script>'
        "const f=document.getElementById('f');f.onload=()=>{const d=f.contentDocument.documentElement;"
        "document.getElementById('out').textContent='width '+d.scrollWidth+' of '+d.clientWidth;};"
        "f.srcdoc=document.getElementById('page').textContent;</script>"
    )
    escaped = html.replace("&", "&amp;").replace("<", "&lt;")
    page = tmp_path / "probe.html"
    page.write_text(f'<!DOCTYPE html><meta charset="utf-8"><pre id="page" hidden>{escaped}</pre>{probe}')
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "CONSOLE" not in done.stderr, done.stderr[-2000:]
    found = re.search(r"width (\d+) of (\d+)", done.stdout.rpartition("</iframe>")[2])
    assert found is not None, done.stdout[-500:]
    assert int(found[1]) <= int(found[2]) <= 400
