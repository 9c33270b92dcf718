"""A workspace with pairs to judge, whose tokens are characters, made without a model."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import count
from pathlib import Path

from figa_core.annotation.desk import Desk, Job
from figa_core.annotation.store import JudgementFile
from figa_core.records import FinishReason, Message, Prompt, Response, Score, Split, WeighedPair
from figa_core.shards.read import PairsByPlace
from figa_core.shards.write import write_shards
from figa_core.storage.database import Database
from figa_core.storage.prompts import save_prompts
from figa_core.storage.responses import save_responses
from figa_core.storage.runs import save_run
from figa_core.storage.scores import save_scores
from figa_core.weighting.schemes import scheme_named
from tests.figa_core.storage.empty import new_database

RUN, SHARDS = "run-1", "shards-1"
TEXTS = {
    "pair-a": ("2 + 2 = 5", "2 + 2 = 4"),
    "pair-b": ("bad <b>words</b>", "good <i>words</i>"),
    "pair-c": ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>"),
}


def decode(ids: list[int]) -> str:
    return "".join(map(chr, ids))


def weighed(pair_id: str, before: str, after: str, scheme: str = "levenshtein") -> WeighedPair:
    before_ids, after_ids = tuple(map(ord, before)), tuple(map(ord, after))
    edits = scheme_named(scheme)(before_ids, after_ids, 1.0)
    return WeighedPair(
        pair_id=pair_id,
        prompt_ids=(1,),
        response_ids=before_ids,
        response_classes=edits.response_classes,
        revision_ids=after_ids,
        revision_classes=edits.revision_classes,
        reference_ids=(),
        response_reward=-1.0,
        revision_reward=2.0,
    )


def fill(database: Database, texts: Mapping[str, tuple[str, str]]) -> None:
    """The rows of a run whose pairs were admitted."""
    save_run(database, RUN, "support", {}, None)
    messages = {pair: (Message("user", f"what about <{pair}>?"),) for pair in texts}
    prompts = [
        Prompt(f"prompt-{pair}", messages[pair], Split.TRAIN, f"reference {pair}", f"reference-{pair}")
        for pair in texts
    ]
    save_prompts(database, RUN, prompts)
    stop = FinishReason.STOP
    responses = [
        Response(f"response-{pair}", f"prompt-{pair}", 0, before, (), stop)
        for pair, (before, _) in texts.items()
    ]
    save_responses(database, "g", responses)
    revisions = [
        {"revision_id": pair, "response_id": f"response-{pair}", "reference_id": f"reference-{pair}"}
        | {"text": after, "model": "m", "status": "succeeded"}
        for pair, (_, after) in texts.items()
    ]
    database.insert("revisions", revisions)
    kept = {"run_id": RUN, "kept": True, "keep_reason": "", "scorer_id": "s", "admitted": True}
    pairs = [
        {"revision_id": pair, "response_id": f"response-{pair}", "prompt_id": f"prompt-{pair}"}
        for pair in texts
    ]
    database.insert("pairs", [{**pair, **kept, "weighed": True, "weigh_reason": "weighed"} for pair in pairs])
    scores = [Score(f"response-{pair}", "s", -1.0) for pair in texts]
    save_scores(database, [*scores, *(Score(pair, "s", 2.0) for pair in texts)])


def write(
    directory: Path, texts: Mapping[str, tuple[str, str]], scheme: str = "levenshtein", each: int = 2
) -> None:
    pairs: Iterator[WeighedPair] = (weighed(pair, *both, scheme=scheme) for pair, both in texts.items())
    write_shards(
        directory,
        pairs,
        shard_set_id=directory.name,
        tokenizer_hash="t",
        template_hash="t",
        scheme=scheme,
        max_length=1024,
        pairs_per_shard=each,
    )


def clock() -> Callable[[], str]:
    ticks = count()
    return lambda: f"2026-01-01T00:00:00.{next(ticks):06d}+00:00"


def new_desk(
    root: Path,
    texts: Mapping[str, tuple[str, str]] = TEXTS,
    *,
    scheme: str = "levenshtein",
    shards: str = SHARDS,
    pairs_max: int | None = None,
    blind: bool = False,
) -> Desk:
    """A desk in the new workspace `root`, whose shard set is known by the id `shards`."""
    made = _made(tuple(texts.items()), scheme)
    shutil.copytree(made, root, dirs_exist_ok=True)
    return open_desk(root, scheme=scheme, shards=shards, pairs_max=pairs_max, blind=blind)


@cache
def _made(texts: tuple[tuple[str, tuple[str, str]], ...], scheme: str) -> Path:
    """The workspace, made once in a session: filling a database takes longer than most tests."""
    root = Path(tempfile.mkdtemp())
    fill(new_database(root / "figa.duckdb"), dict(texts))
    write(root / "shards" / SHARDS, dict(texts), scheme)
    return root


def open_desk(
    root: Path,
    *,
    scheme: str = "levenshtein",
    shards: str = SHARDS,
    pairs_max: int | None = None,
    blind: bool = False,
) -> Desk:
    """A desk in a workspace that exists, as after a restart."""
    return Desk(
        Job(RUN, "support", scheme, shards),
        PairsByPlace(root / "shards" / SHARDS),
        decode,
        Database(root / "figa.duckdb"),
        JudgementFile(root / "annotations.sqlite"),
        now=clock(),
        pairs_max=pairs_max,
        blind=blind,
    )
