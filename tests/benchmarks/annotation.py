"""The annotation page on many pairs: how long a person waits from judging one pair to seeing the next.

    python -m tests.benchmarks.annotation [--quick]

100 000 pairs of about 120 tokens in ten shards, a tenth of which `bag_of_words` marks nothing in, under each
of two schemes, and with nothing or almost everything finished; the server is a process of its own. Over HTTP
it is the page's own requests for a pair; in Chromium (`make e2e`) it is from the key of the first judgement
until the next pair is painted. Prints a table and writes ``build/bench/annotation.json``: milliseconds for a
pair.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from rich.table import Table

from figa_core.annotation.changes import Verdict
from figa_core.annotation.desk import Desk, Job
from figa_core.annotation.server import HOST, listen, serve
from figa_core.annotation.store import Judgement, JudgementFile
from figa_core.models.tokenizer import load_tokenizer
from figa_core.records import EditClass, WeighedPair
from figa_core.sandbox.build import build_sandbox
from figa_core.shards.read import PairsByPlace
from figa_core.shards.write import write_shards
from figa_core.storage.database import Database
from figa_core.weighting.schemes import scheme_named
from tests.benchmarks.child import start
from tests.benchmarks.figures import log, save, show
from tests.benchmarks.other_work import OtherWork
from tests.deployments.chromium import CHROMIUM, chromium
from tests.figa_core.annotation.made import RUN, fill

_ROOT = Path("build/sandbox")
_SCHEMES = ("levenshtein", "bag_of_words")
_PAIRS, _FINISHED, _JUDGED = 100_000, (0, 99_000), 60
_QUICK_PAIRS, _QUICK_FINISHED, _QUICK_JUDGED = 200, (0, 150), 5
_TOKENS, _CHANGED, _UNMARKED_EVERY, _SHARDS = 120, 3, 10, 10
_WANTED_MS = 200
_START_S, _PAINT_MS = 120.0, 20_000
_NAME = "ada"
# Judges every change by key, asks for the next pair, and ends when that has been painted.
_JUDGE_AND_GO_ON = """async () => {
  const heading = document.getElementById("pair"), before = heading.textContent, begun = performance.now();
  const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  document.querySelectorAll("fieldset").forEach(() => press("1"));
  const shown = new Promise((done) => new MutationObserver((_, observer) => {
    if (heading.textContent !== before) { observer.disconnect(); done(); }
  }).observe(heading, { childList: true, characterData: true, subtree: true }));
  press("n");
  await shown;
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - begun;
}"""


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.annotation")
    parser.add_argument("--quick", action="store_true", help="few pairs: whether it runs at all")
    parser.add_argument("--serve", nargs=3, metavar=("ROOT", "SCHEME", "ADDRESS"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        root, scheme, address = asked.serve
        return _serve(Path(root), scheme, Path(address))
    pairs, finished, judged = _PAIRS, _FINISHED, _JUDGED
    if asked.quick:
        pairs, finished, judged = _QUICK_PAIRS, _QUICK_FINISHED, _QUICK_JUDGED
    table = Table("scheme", "finished", "by", "median", "95 %", title=f"{pairs:,} pairs: ms for a pair")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as made:
        root, other = Path(made), OtherWork()
        _write(root, pairs)
        for scheme in _SCHEMES:
            for number in finished:
                for name, times in _measured(root, scheme, number, judged).items():
                    ms = {"median": statistics.median(times), "p95": statistics.quantiles(times, n=20)[-1]}
                    table.add_row(scheme, f"{number:,}", name, *(f"{value:.0f}" for value in ms.values()))
                    figures |= {f"{scheme}_{number}_{name}_{key}_ms": value for key, value in ms.items()}
        figures["other_cores"] = other.cores()
    worst = max(value for key, value in figures.items() if key.endswith("_p95_ms"))
    show(table, f"At most {worst:.0f} ms for 95 % of the pairs, where {_WANTED_MS} are wanted.")
    save("annotation-quick" if asked.quick else "annotation", figures)
    return None


def _measured(root: Path, scheme: str, finished: int, judged: int) -> dict[str, list[float]]:
    """Way → milliseconds for each pair, by a person who has finished so many pairs."""
    _finish(root, scheme, finished)
    with _served(root, scheme) as url:
        found = {"HTTP": _over_http(url, judged)}
        if Path(CHROMIUM).exists():
            found["Chromium"] = _in_chromium(url, judged)
        else:
            log(f"{CHROMIUM} is not there: measured without a browser")
    return found


def _over_http(url: str, judged: int) -> list[float]:
    times: list[float] = []
    with httpx.Client(base_url=url, timeout=_START_S) as client:

        def get(path: str, **query: Any) -> dict[str, Any]:
            return client.get(path, params={"annotator": _NAME, **query}).raise_for_status().json()

        state, place = get("/api/state"), get("/api/next", after=-1)["place"]
        pair = get("/api/pair", place=place)
        for _ in range(judged):
            begun = time.perf_counter()
            said = {"shard_set_id": state["shard_set_id"], "pair_id": pair["pair_id"], "annotator": _NAME}
            for key in [stretch["key"] for stretch in pair["stretches"] if stretch["key"]]:
                body = {**said, "change": key, "verdict": "matters", "blind": False}
                client.post("/api/judgement", json=body).raise_for_status()
            get("/api/state")
            place = get("/api/next", after=place)["place"]
            pair = get("/api/pair", place=place)
            get("/api/state")
            times.append((time.perf_counter() - begun) * 1000)
    return times


def _in_chromium(url: str, judged: int) -> list[float]:
    with chromium() as browser:
        page = browser.new_page()
        page.set_default_timeout(_PAINT_MS)
        page.goto(url)
        page.get_by_label("Your name").fill(_NAME)
        page.keyboard.press("Enter")
        page.locator("fieldset").first.wait_for()
        page.locator("#name").evaluate("each => each.blur()")
        return [page.evaluate(_JUDGE_AND_GO_ON) for _ in range(judged)]


@contextmanager
def _served(root: Path, scheme: str) -> Iterator[str]:
    address = root / "address"
    address.unlink(missing_ok=True)
    server = start("annotation", ("--serve", root, scheme, address), root / "server.log")
    try:
        if not server.wait_until(address.exists, timeout_s=_START_S):
            raise RuntimeError(f"the server does not start:\n{server.log_tail(40)}")
        yield address.read_text(encoding="utf-8")
    finally:
        server.kill()


def _serve(root: Path, scheme: str, address: Path) -> None:
    tokenizer = load_tokenizer(build_sandbox(_ROOT).base_model)
    ticks = count()
    desk = Desk(
        Job(RUN, "benchmark", scheme, scheme),
        PairsByPlace(root / scheme),
        lambda ids: tokenizer.decode(ids, skip_special_tokens=False),
        Database(root / "figa.duckdb"),
        JudgementFile(root / "annotations.sqlite"),
        now=lambda: f"2026-01-02T00:00:00.{next(ticks):06d}+00:00",
    )
    with listen(0) as listening:
        written = address.with_suffix(".new")
        written.write_text(f"http://{HOST}:{listening.getsockname()[1]}/", encoding="utf-8")
        written.rename(address)
        serve(desk, listening)


def _finish(root: Path, scheme: str, number: int) -> None:
    """Nothing is judged but the set's first so many pairs, of one change each."""
    (root / "annotations.sqlite").unlink(missing_ok=True)
    ids = PairsByPlace(root / scheme).ids[:number]
    done = [Judgement(scheme, each, "0-1:0-1", _NAME, Verdict.MATTERS, False, "2026-01-01") for each in ids]
    JudgementFile(root / "annotations.sqlite").save(done, {_NAME: ids})


def _write(root: Path, pairs: int) -> None:
    """A workspace's database, and a shard set of the same pairs for each scheme."""
    tokenizer = load_tokenizer(build_sandbox(_ROOT).base_model)
    words = [i for i in range(len(tokenizer)) if tokenizer.decode([i])[1:].isalpha()]
    chance = random.Random(3)
    both = {f"pair-{number:06d}": _two_texts(number, words, chance) for number in range(pairs)}
    database = Database(root / "figa.duckdb")
    database.create()
    fill(database, {key: (tokenizer.decode(one), tokenizer.decode(two)) for key, (one, two) in both.items()})
    for scheme in _SCHEMES:
        write_shards(
            root / scheme,
            (_weighed(key, *ids, scheme) for key, ids in both.items()),
            shard_set_id=scheme,
            tokenizer_hash="t",
            template_hash="t",
            scheme=scheme,
            max_length=1024,
            pairs_per_shard=max(1, pairs // _SHARDS),
        )
    log(f"{pairs:,} pairs written")


def _two_texts(number: int, words: Sequence[int], chance: random.Random) -> tuple[list[int], list[int]]:
    """Token ids of Ŷ and Ỹ: some words are others, or two are in another order."""
    before = chance.choices(words, k=_TOKENS)
    after = list(before)
    if number % _UNMARKED_EVERY == 0:
        after[10:12] = reversed(before[10:12])
        return before, after
    for place in chance.sample(range(_TOKENS), _CHANGED):
        after[place] = chance.choice(words)
    return before, after


def _weighed(pair_id: str, before: Sequence[int], after: Sequence[int], scheme: str) -> WeighedPair:
    edits, end = scheme_named(scheme)(before, after, 1.0), (int(EditClass.END_OF_TURN),)
    return WeighedPair(
        pair_id=pair_id,
        prompt_ids=(1,),
        response_ids=(*before, 0),
        response_classes=edits.response_classes + end,
        revision_ids=(*after, 0),
        revision_classes=edits.revision_classes + end,
        reference_ids=(),
        response_reward=-1.0,
        revision_reward=2.0,
    )


if __name__ == "__main__":
    sys.exit(main())
