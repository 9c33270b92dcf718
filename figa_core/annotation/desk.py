"""What the annotation page asks for: the next pair of a run, and where a person's decisions go.

Judgements are written to a file of their own at any time. Thrown-out pairs and corrections are rows of the
workspace's database; they are refused while a run holds the workspace, because it has read its pairs already.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figa_core.annotation.changes import Stretch, Verdict, is_shown_reversed, keys_of, stretches
from figa_core.annotation.progress import Progress
from figa_core.annotation.store import Judgement, JudgementFile, checked_name
from figa_core.errors import AnotherJobError, InputError
from figa_core.processes.lease import describe_holder, is_held, workspace_lease
from figa_core.report.tokens import Decode
from figa_core.shards.read import PairsByPlace
from figa_core.storage import people
from figa_core.storage.database import Database

TEXT_LENGTH_MAX = 200_000
REASON_LENGTH_MAX = 500
_OWNER = "figa annotate"
_SIDES = ("initial response", "revised response")
_HIDDEN_SIDES = ("answer A", "answer B")


@dataclass(frozen=True, slots=True)
class Job:
    """What is judged: a run's pairs under its weighting scheme; the set's id tells jobs apart."""

    run_id: str
    name: str
    scheme: str
    shard_set_id: str


class Desk:
    """The pairs of one job, for any number of people at once.

    `pairs_max`: only the first so many of the set; its order is that of hashes, so they are a random sample.
    `blind`: the sides are hidden for everybody. `now` returns the time in ISO format, UTC.
    """

    def __init__(
        self,
        job: Job,
        pairs: PairsByPlace,
        decode: Decode,
        database: Database,
        judgements: JudgementFile,
        *,
        now: Callable[[], str],
        pairs_max: int | None = None,
        blind: bool = False,
    ) -> None:
        self.job, self.blind = job, blind
        self._pairs, self._decode, self._database, self._judgements = pairs, decode, database, judgements
        self._now = now
        self._ids = pairs.ids[:pairs_max]
        self._progress = Progress(judgements, job.scheme, pairs, len(self._ids))
        self._progress.throw_out(people.excluded_ids(database))
        self._turns = threading.Lock()

    def state(self, annotator: str) -> dict[str, Any]:
        """The job, how far this person is, and who holds the workspace."""
        name = checked_name(annotator)
        done, left = self._progress.of(name)
        return {
            **asdict(self.job),
            "annotator": name,
            "blind": self.blind,
            "pairs": len(self._ids),
            "excluded": self._progress.excluded,
            "unmarked": self._progress.unmarked,
            "done": done,
            "left": left,
            "held_by": self._holder(),
        }

    def next_place(self, annotator: str, after: int) -> int | None:
        """The place of the next pair after this one that the person has not finished; from the start again
        if there is none. None if nothing is left. Pairs without a marked change are passed over."""
        return self._progress.next_place(checked_name(annotator), after)

    def pair(self, place: int, annotator: str, *, blind: bool) -> dict[str, Any]:
        """All that the page shows of a pair. With the sides hidden, nothing in it tells which is which.

        Raises:
            InputError: there is no such place.
        """
        if not 0 <= place < len(self._ids):
            raise InputError(f"there is no pair {place + 1}: the set has {len(self._ids)}.")
        name, pair_id, blind = checked_name(annotator), self._ids[place], blind or self.blind
        swapped = blind and is_shown_reversed(pair_id, name)
        shown = people.shown_pair(self._database, pair_id)
        verdicts = self._judgements.of_pair(self.job.scheme, pair_id, name)
        weighed = self._pairs[place]
        rewards = None if blind else [weighed.response_reward, weighed.revision_reward]
        return {
            "place": place,
            "shard_set_id": self.job.shard_set_id,
            "pair_id": pair_id,
            "blind": blind,
            "messages": [{"role": m.role, "text": m.shown} for m in shown.messages],
            "reference": shown.reference,
            "sides": _HIDDEN_SIDES if blind else _SIDES,
            "rewards": rewards,
            "stretches": [_as_shown(stretch, swapped=swapped) for stretch in self._stretches(place)],
            "verdicts": {key: v.reversed if swapped else v for key, v in verdicts.items()},
            "excluded": shown.excluded,
            "correction": None if blind else _correction(shown),
            "held_by": self._holder(),
        }

    def judge(
        self, shard_set_id: str, pair_id: str, change: str, annotator: str, verdict: Verdict, *, blind: bool
    ) -> bool:
        """Store what a person says of a change; returns whether the pair is finished.

        `blind`: whether its sides were hidden when it was shown, also by an earlier `figa annotate`.

        Raises:
            AnotherJobError: the job is another one, or has no such pair.
            InputError: the pair has no such change.
        """
        place, name = self._place(shard_set_id, pair_id), checked_name(annotator)
        keys = keys_of(self._stretches(place))
        if change not in keys:
            raise InputError(
                f"{change}: the pair has no such change under the scheme {self.job.scheme}. Reload the page."
            )
        if blind and is_shown_reversed(pair_id, name):
            verdict = verdict.reversed
        judged = {*self._judgements.of_pair(self.job.scheme, pair_id, name), change}
        finished = judged.issuperset(keys)
        self._judgements.save(
            [Judgement(self.job.scheme, pair_id, change, name, verdict, blind, self._now())],
            {name: [pair_id]} if finished else {},
        )
        if finished:
            self._progress.finish(name, pair_id)
        return finished

    def throw_out(self, shard_set_id: str, pair_id: str, annotator: str, reason: str) -> None:
        """Keep a pair out of every later shard set; an empty reason counts as "no reason given".

        Raises:
            AnotherJobError: the job is another one or has no such pair.
            InputError: the reason is too long.
            WorkspaceBusyError: a run holds the workspace.
        """
        self._place(shard_set_id, pair_id)
        if len(reason) > REASON_LENGTH_MAX:
            raise InputError(f"reason: at most {REASON_LENGTH_MAX} characters.")
        with self._deciding():
            name = checked_name(annotator)
            people.exclude(self._database, pair_id, name, reason.strip() or "no reason given")

    def put_back(self, shard_set_id: str, pair_id: str) -> None:
        """Take back `throw_out`, of whoever did it; raises what that does."""
        self._place(shard_set_id, pair_id)
        with self._deciding():
            people.include(self._database, pair_id)

    def correct(
        self, shard_set_id: str, pair_id: str, annotator: str, text: str, *, based_on: str
    ) -> dict[str, Any]:
        """Store a person's words instead of Ỹ, for the next run; returns the pair's `correction`.

        Raises:
            AnotherJobError: the job is another one or has no such pair.
            InputError: see `people.correct`; or the text is too long.
            WorkspaceBusyError: a run holds the workspace.
        """
        self._place(shard_set_id, pair_id)
        name, plain = checked_name(annotator), text.replace("\r\n", "\n")
        if len(plain) > TEXT_LENGTH_MAX or "\0" in plain:
            raise InputError(f"a correction has at most {TEXT_LENGTH_MAX:,} characters, and none is NUL.")
        with self._deciding():
            return _correction(people.correct(self._database, pair_id, plain, name, based_on=based_on))

    def judgements(self) -> list[Judgement]:
        """Everybody's judgements of this job."""
        shown = set(self._ids)
        found = self._judgements.all()
        return [each for each in found if each.scheme == self.job.scheme and each.pair_id in shown]

    def texts(self, pair_id: str, change: str) -> dict[str, str]:
        """What is shown of a change, for a file; the change is empty if the pair no longer has it."""
        place = self._place(self.job.shard_set_id, pair_id)
        shown, found = people.shown_pair(self._database, pair_id), self._stretches(place)
        here = next((stretch for stretch in found if stretch.key == change), Stretch("", ""))
        return {
            "prompt": "\n".join(f"{m.role}: {m.shown}" for m in shown.messages),
            "response": "".join(stretch.before for stretch in found),
            "revision": "".join(stretch.after for stretch in found),
            "before": here.before,
            "after": here.after,
        }

    def take_in(self, judgements: Sequence[Judgement]) -> int:
        """Store judgements from a file, all or none; returns their number. Of two the later one counts.

        Raises:
            InputError: some are of another run or scheme; the message says how many, with an example.
        """
        foreign = [each for each in judgements if not self._has(each)]
        if foreign:
            first = foreign[0]
            raise InputError(
                f"{len(foreign):,} of {len(judgements):,} judgements are of another run or scheme than "
                f"{self.job.name}, {self.job.scheme}; the first is of pair {first.pair_id}, change "
                f"{first.change}, scheme {first.scheme}. Nothing was stored: name their run with --run."
            )
        judged: dict[tuple[str, str], set[str]] = defaultdict(set)
        for each in (*judgements, *self.judgements()):
            judged[each.annotator, each.pair_id].add(each.change)
        finished: dict[str, list[str]] = defaultdict(list)
        for name, pair_id in {(each.annotator, each.pair_id) for each in judgements}:
            if judged[name, pair_id].issuperset(self._keys(pair_id)):
                finished[name].append(pair_id)
        self._judgements.save(judgements, finished)
        return len(judgements)

    def _has(self, judgement: Judgement) -> bool:
        return judgement.scheme == self.job.scheme and judgement.change in self._keys(judgement.pair_id)

    def _keys(self, pair_id: str) -> list[str]:
        place = self._pairs.place(pair_id)
        return [] if place is None or place >= len(self._ids) else keys_of(self._stretches(place))

    def _stretches(self, place: int) -> tuple[Stretch, ...]:
        return stretches(self._pairs[place], self._decode)

    def _place(self, shard_set_id: str, pair_id: str) -> int:
        place = self._pairs.place(pair_id) if shard_set_id == self.job.shard_set_id else None
        if place is None or place >= len(self._ids):
            raise AnotherJobError(
                "this page shows another run or scheme than `figa annotate` does now "
                f"({self.job.name}, {self.job.scheme}). Reload it; nothing was stored."
            )
        return place

    @contextmanager
    def _deciding(self) -> Iterator[None]:
        """One decision at a time, and none while a run holds the workspace."""
        with self._turns, workspace_lease(self._database.path.parent, owner=_OWNER):
            yield
            self._progress.throw_out(people.excluded_ids(self._database))

    def _holder(self) -> str | None:
        directory: Path = self._database.path.parent
        with self._turns:  # our own lease is short, and no news
            return describe_holder(directory) if is_held(directory) else None


def _as_shown(stretch: Stretch, *, swapped: bool) -> dict[str, Any]:
    before, after = (stretch.after, stretch.before) if swapped else (stretch.before, stretch.after)
    return {"before": before, "after": after, "key": stretch.key}


def _correction(shown: people.ShownPair) -> dict[str, Any]:
    return {"id": shown.current_id, "text": shown.current, "author": shown.author}
