"""The speed of weighing pairs, compared with the bare calls underneath, and its memory.

    python -m tests.benchmarks.weighing [--quick]

* alignment: `edit_classes` and bare `Levenshtein.editops` on the same ids;
* the whole stage (database, tokenizer, template, alignment, Parquet), and bare `encode_batch` of the same
  four texts per pair with `editops`;
* peak resident memory of the stage in its own process, with 10 000 and with 200 000 short pairs.

Everything runs on one core (`TOKENIZERS_PARALLELISM=false`). Every figure is the median of repeats in
alternation with its comparison, with minimum and maximum.
"""

import os

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # read when tokenizers is imported

import argparse
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import Levenshtein
from rich.table import Table
from tokenizers import Tokenizer

from figa_core.chat.format import load_chat_format
from figa_core.config import GenerationConfig, WeightingConfig
from figa_core.records import Message
from figa_core.weighting.alignment import edit_classes
from tasks.weigh import weigh
from tasks.workspace import Workspace
from tests.benchmarks.child import start, wait_for
from tests.benchmarks.figures import Spread, save, show, spread
from tests.benchmarks.weigh_workspace import RUN, SCORER, Texts, fill, make_tokenizer, pair_texts

# Tokens of a response, and the number of pairs for a repeat of a second or two.
LENGTHS = {128: 4000, 512: 2000, 2048: 400}
TOKENS_PER_WORD = 1.1
SHORT_WORDS = 30
REPEATS = 5

Ids = list[int]


def main() -> None:
    """Measure, print one table, write build/bench/weighing.json."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run on a hundredth of the rows")
    parser.add_argument("--stage", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage is not None:
        run_stage(arguments.stage / "workspace", arguments.stage / "tokenizer")
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (arguments.stage / "peak_kb").write_text(str(peak_kb))
        return
    share = 0.01 if arguments.quick else 1.0
    with tempfile.TemporaryDirectory() as directory:
        figures = measure(Path(directory), share)
    save("weighing-quick" if arguments.quick else "weighing", figures)


def measure(directory: Path, share: float) -> dict[str, float]:
    """All figures, with `share` of the rows; prints the table."""
    table = Table("what", "ours", "bare calls", "ours / bare", title="Weighing, one core; median [min, max]")
    figures: dict[str, float] = {}
    tokenizer = directory / "tokenizer"
    make_tokenizer(tokenizer)
    for length, count in LENGTHS.items():
        texts = list(pair_texts(max(10, int(count * share)), round(length / TOKENS_PER_WORD)))
        ours, bare = compare_alignment(texts, tokenizer)
        add(table, figures, f"align_pairs_per_second_{length}", ours, bare)
        ours, bare = compare_stage(texts, directory / f"stage-{length}", tokenizer)
        add(table, figures, f"weigh_pairs_per_second_{length}", ours, bare)
    figures["weigh_share_of_bare"] = figures["weigh_pairs_per_second_512_share"]
    few, many = (
        peak_memory_mb(directory, tokenizer, max(20, int(count * share))) for count in (10_000, 200_000)
    )
    figures |= {"rss_mb_10k": few, "rss_mb_200k": many, "rss_growth_mb_10k_to_200k": many - few}
    table.add_row("peak memory of the stage, MB: 10 k pairs, 200 k pairs", f"{few:.0f}, {many:.0f}")
    show(table)
    return figures


def add(table: Table, figures: dict[str, float], name: str, ours: Spread, bare: Spread) -> None:
    """Add a line and its figures."""
    figures |= {name: ours.median, f"{name}_bare": bare.median, f"{name}_share": ours.median / bare.median}
    table.add_row(name.replace("_", " "), str(ours), str(bare), f"{ours.median / bare.median:.2f}")


def compare_alignment(texts: Sequence[Texts], tokenizer: Path) -> tuple[Spread, Spread]:
    """Pairs per second of `edit_classes` and of `editops`."""
    encode = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).encode_batch
    before = [encoding.ids for encoding in encode([text.response for text in texts])]
    after = [encoding.ids for encoding in encode([text.revision for text in texts])]

    def align(function: Callable[[Ids, Ids], object]) -> float:
        started = time.perf_counter()
        for one, other in zip(before, after, strict=True):
            function(one, other)
        return len(texts) / (time.perf_counter() - started)

    return alternated(lambda: align(edit_classes), lambda: align(Levenshtein.editops))


def alternated(ours: Callable[[], float], bare: Callable[[], float]) -> tuple[Spread, Spread]:
    """Both rates, measured in alternation."""
    mine, theirs = zip(*((ours(), bare()) for _ in range(REPEATS)), strict=True)
    return spread(mine), spread(theirs)


def compare_stage(texts: Sequence[Texts], directory: Path, tokenizer: Path) -> tuple[Spread, Spread]:
    """Pairs per second of the stage, and of the bare calls on the same texts with rendered templates."""
    fill(Workspace(directory), iter(texts))
    chat = load_chat_format(tokenizer)
    prompts = [chat.render([Message("user", text.prompt)], for_generation=True) for text in texts]
    core = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))

    def bare() -> float:
        started = time.perf_counter()
        columns = (
            prompts,
            [text.response for text in texts],
            [text.revision for text in texts],
            [text.reference for text in texts],
        )
        _, before, after, _ = (
            [encoding.ids for encoding in core.encode_batch(column, add_special_tokens=False)]
            for column in columns
        )
        for one, other in zip(before, after, strict=True):
            Levenshtein.editops(one, other)
        return len(texts) / (time.perf_counter() - started)

    def stage() -> float:
        shutil.rmtree(directory / "shards", ignore_errors=True)
        started = time.perf_counter()
        run_stage(directory, tokenizer)
        return len(texts) / (time.perf_counter() - started)

    return alternated(stage, bare)


def run_stage(workspace: Path, tokenizer: Path) -> None:
    """The function of the task."""
    model = GenerationConfig(model=tokenizer)
    weigh.fn(Workspace(workspace), RUN, WeightingConfig(max_length=4096), model, SCORER)


def peak_memory_mb(directory: Path, tokenizer: Path, pairs: int) -> float:
    """Peak resident memory of a process that only weighs this number of short pairs."""
    place = directory / f"memory-{pairs}"
    fill(Workspace(place / "workspace"), pair_texts(pairs, SHORT_WORDS))
    (place / "tokenizer").symlink_to(tokenizer)
    wait_for(start("weighing", ("--stage", place), place / "log.txt"), "the stage")
    peak_kb = int((place / "peak_kb").read_text())
    shutil.rmtree(place)
    return peak_kb / 1024


if __name__ == "__main__":
    main()
