"""The file of people's judgements: one SQLite file in the workspace, apart from the pipeline's database.

A judgement belongs to a scheme and a pair, not to a run: another run with the same pair and scheme has it
too. Each is committed when it is made. Several people, and several processes, may write at once: everybody
has rows of their own, and of one person's two judgements of a change the later one counts.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from figa_core.annotation.changes import Verdict
from figa_core.errors import InputError, StorageError

NAME_LENGTH_MAX = 60
_WAIT_S = 30.0
_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS judgements (
    scheme TEXT NOT NULL, pair_id TEXT NOT NULL, change TEXT NOT NULL, annotator TEXT NOT NULL,
    verdict TEXT NOT NULL, blind INTEGER NOT NULL, judged_at TEXT NOT NULL,
    PRIMARY KEY (scheme, pair_id, change, annotator)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS finished (
    scheme TEXT NOT NULL, annotator TEXT NOT NULL, pair_id TEXT NOT NULL,
    PRIMARY KEY (scheme, annotator, pair_id)
) WITHOUT ROWID;
"""
_SAVE = """
INSERT INTO judgements VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET verdict = excluded.verdict, blind = excluded.blind, judged_at = excluded.judged_at
WHERE excluded.judged_at >= judgements.judged_at"""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a person says of one change. `blind`: the sides were hidden; `judged_at` is in ISO format, UTC."""

    scheme: str
    pair_id: str
    change: str
    annotator: str
    verdict: Verdict
    blind: bool
    judged_at: str


def checked_name(name: str) -> str:
    """An annotator's name without white space around it.

    Raises:
        InputError: it is empty, too long, or has characters that are not printable; they are named, since
            nobody sees them.
    """
    plain = " ".join(name.split())
    unseen = sorted({f"U+{ord(character):04X}" for character in plain if not character.isprintable()})
    if not plain or len(plain) > NAME_LENGTH_MAX or unseen:
        found = f" This one has invisible ones: {', '.join(unseen)}. Type it anew." if unseen else ""
        raise InputError(f"annotator: give a name of 1 to {NAME_LENGTH_MAX} printable characters.{found}")
    return plain


class JudgementFile:
    """The judgements in the file `path`, which need not exist yet; several threads may use it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, judgements: Sequence[Judgement], finished: Mapping[str, Sequence[str]]) -> None:
        """Store judgements, and which pairs the scheme's changes are all judged of: annotator → pair ids.

        All of the judgements are of one scheme.
        """
        if not judgements:
            return
        rows = [
            (j.scheme, j.pair_id, j.change, j.annotator, j.verdict, j.blind, j.judged_at) for j in judgements
        ]
        done = [(judgements[0].scheme, name, pair) for name, pairs in finished.items() for pair in pairs]
        with self._open() as connection, connection:
            connection.executemany(_SAVE, rows)
            connection.executemany("INSERT OR IGNORE INTO finished VALUES (?, ?, ?)", done)

    def of_pair(self, scheme: str, pair_id: str, annotator: str) -> dict[str, Verdict]:
        """One person's verdicts on the changes of a pair, by the changes' keys."""
        query = "SELECT change, verdict FROM judgements WHERE scheme = ? AND pair_id = ? AND annotator = ?"
        return {key: Verdict(verdict) for key, verdict in self._rows(query, scheme, pair_id, annotator)}

    def finished(self, scheme: str, annotator: str) -> set[str]:
        """The ids of the pairs that this person has judged completely."""
        query = "SELECT pair_id FROM finished WHERE scheme = ? AND annotator = ?"
        return {pair_id for (pair_id,) in self._rows(query, scheme, annotator)}

    def count_finished(self, scheme: str, annotator: str) -> int:
        """How many pairs this person has judged completely."""
        query = "SELECT count(*) FROM finished WHERE scheme = ? AND annotator = ?"
        return sum(number for (number,) in self._rows(query, scheme, annotator))

    def annotators(self, scheme: str) -> list[str]:
        """Everybody who has judged a change under this scheme."""
        query = "SELECT DISTINCT annotator FROM judgements WHERE scheme = ? ORDER BY 1"
        return [name for (name,) in self._rows(query, scheme)]

    def all(self) -> list[Judgement]:
        """Every judgement, in the order of scheme, pair, change and annotator."""
        found = self._rows("SELECT * FROM judgements ORDER BY scheme, pair_id, change, annotator")
        return [
            Judgement(scheme, pair, change, name, Verdict(verdict), bool(blind), at)
            for scheme, pair, change, name, verdict, blind, at in found
        ]

    def copy_to(self, target: Path) -> None:
        """Copy the file as it is between two commits."""
        with self._open() as connection, closing(sqlite3.connect(target)) as copy:
            connection.backup(copy)

    def _rows(self, query: str, *values: str) -> list[tuple]:
        if not self.path.exists():
            return []
        with self._open() as connection:
            return connection.execute(query, values).fetchall()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_WAIT_S)) as connection:
                [(version,)] = connection.execute("PRAGMA user_version").fetchall()
                if version > _VERSION:
                    raise StorageError(
                        f"{self.path}: written by a newer version of figa. Update it, or move the file away."
                    )
                if version < _VERSION:
                    connection.executescript(
                        f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;"
                    )
                yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"{self.path}: the file of judgements cannot be used: {error}. Free space or correct the "
                "permissions; if it is damaged, restore it from a backup or move it away."
            ) from error
