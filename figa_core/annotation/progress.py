"""How far each person is with a set's pairs: what is finished and which pair is next, for sets of any size.

Per person there is one byte a pair. A person's finished pairs are read from the file once, and again only if
another process has added some: they are only ever added, so their number tells.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from figa_core.annotation.store import JudgementFile
from figa_core.shards.read import PairsByPlace


@dataclass(slots=True)
class _Finished:
    """A person's finished pairs: how many rows the file has of them, and which places of this set."""

    rows: int
    places: np.ndarray


class Progress:
    """The first `length` pairs of a set under one scheme. Several threads may use it.

    Only pairs with a change that the scheme marks, and that nobody has thrown out, are to be judged.
    """

    def __init__(self, judgements: JudgementFile, scheme: str, pairs: PairsByPlace, length: int) -> None:
        self._judgements, self._scheme, self._pairs = judgements, scheme, pairs
        self._marked = np.array(pairs.marked[:length], bool)
        self._open = self._marked
        self._of: dict[str, _Finished] = {}
        self._lock = threading.Lock()
        self.excluded = 0
        """How many pairs are thrown out."""
        self.unmarked = length - int(self._marked.sum())
        """How many pairs the scheme marks no change of: nobody is asked about them."""

    def throw_out(self, pair_ids: Iterable[str]) -> None:
        """Set which pairs are thrown out; ids of other sets are passed over."""
        out = np.zeros(len(self._marked), bool)
        out[self._places(pair_ids)] = True
        with self._lock:
            self.excluded, self._open = int(out.sum()), self._marked & ~out

    def of(self, name: str) -> tuple[int, int]:
        """(the pairs to be judged that this person has finished, all pairs to be judged)."""
        with self._lock:
            done = self._finished(name)
            return int((self._open & done).sum()), int(self._open.sum())

    def next_place(self, name: str, after: int) -> int | None:
        """The first place after this one, or else from the start, that the person has to judge, if any."""
        with self._lock:
            left = self._open & ~self._finished(name)
        for first, part in ((after + 1, left[after + 1 :]), (0, left[: after + 1])):
            if part.any():
                return first + int(part.argmax())
        return None

    def finish(self, name: str, pair_id: str) -> None:
        """Note a pair that was stored as finished."""
        with self._lock:
            known = self._of.get(name)
            for place in self._places([pair_id]):
                if known is not None and not known.places[place]:
                    known.places[place] = True
                    known.rows += 1

    def _finished(self, name: str) -> np.ndarray:
        known = self._of.get(name)
        if known is None or known.rows != self._judgements.count_finished(self._scheme, name):
            pair_ids = self._judgements.finished(self._scheme, name)
            known = self._of[name] = _Finished(len(pair_ids), np.zeros(len(self._marked), bool))
            known.places[self._places(pair_ids)] = True
        return known.places

    def _places(self, pair_ids: Iterable[str]) -> list[int]:
        found = (self._pairs.place(pair_id) for pair_id in pair_ids)
        return [place for place in found if place is not None and place < len(self._marked)]
