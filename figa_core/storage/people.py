"""What people decide about pairs: which are thrown out, and whose words replace a revision.

A pair's id is its revision's. A correction is a revision of its own, with its author, in the place of the
reviser's (`corrections`): the next run scores, admits and weighs it like any other. A row of `exclusions`
with a `response_id` throws out every pair of that response: it stays out of every later shard set also when
it is corrected, or when another reviser or other instructions revise it. Both change the pairs of the next
shard set, and with them its id.
"""

from dataclasses import dataclass
from typing import Any

import duckdb

from figa_core import ids
from figa_core.errors import InputError
from figa_core.records import Message, RevisionStatus
from figa_core.storage.conversations import read_messages
from figa_core.storage.database import Database

EXCLUDED = "thrown out by a person"
"""Why a pair is not weighed."""

THROWN_OUT = "SELECT response_id FROM exclusions WHERE response_id IS NOT NULL"
"""SQL: the responses whose pairs are thrown out."""
_SETTLE = (
    f"""UPDATE pairs SET weighed = NULL, weigh_reason = NULL
        WHERE run_id = $run AND weigh_reason = '{EXCLUDED}' AND response_id NOT IN ({THROWN_OUT})""",
    f"""UPDATE pairs SET weighed = false, weigh_reason = '{EXCLUDED}'
        WHERE run_id = $run AND admitted AND response_id IN ({THROWN_OUT})""",
)


@dataclass(frozen=True, slots=True)
class ShownPair:
    """What a person sees of a pair besides its tokens.

    `revised_id` and `revised` are the reviser's. `current_id` and `current` are what the next run uses: the
    correction by `author`, or the reviser's if there is none. `excluded` says who threw the pair out and why,
    this one or another revision of the same response.
    """

    messages: tuple[Message, ...]
    response_id: str
    response: str
    reference: str | None
    revised_id: str
    revised: str
    current_id: str
    current: str
    author: str | None
    excluded: str | None


def shown_pair(database: Database, pair_id: str) -> ShownPair:
    """The pair of this revision or correction.

    Raises:
        InputError: it is not stored.
    """
    with database.open() as connection:
        return _shown(connection, pair_id)


def _shown(connection: duckdb.DuckDBPyConnection, pair_id: str) -> ShownPair:
    def row(query: str, value: str | None) -> tuple[Any, ...] | None:
        # Each by its key: a join would read whole tables.
        return connection.execute(query, [value]).fetchone()

    of_pair = row("SELECT coalesce(corrects, revision_id) FROM revisions WHERE revision_id = ?", pair_id)
    if of_pair is None:
        raise InputError(f"{pair_id}: no such revision in this workspace.")
    [revised_id] = of_pair
    text_and_author = "SELECT text, author FROM revisions WHERE revision_id = ?"
    of_revision = "SELECT response_id, reference_id FROM revisions WHERE revision_id = ?"
    response_id, reference_id = row(of_revision, revised_id) or ("", None)
    of_response = "SELECT prompt_id, text FROM responses WHERE response_id = ?"
    prompt_id, response = row(of_response, response_id) or (None, "")
    messages = row("SELECT messages FROM prompts WHERE prompt_id = ?", prompt_id)
    reference = row("SELECT text FROM reference_answers WHERE reference_id = ?", reference_id)
    of_exclusion = "SELECT author, reason FROM exclusions WHERE response_id = ?"
    excluded = row(of_exclusion, response_id)
    correction = row("SELECT correction_id FROM corrections WHERE revision_id = ?", revised_id)
    revised, _ = row(text_and_author, revised_id) or ("", None)
    current, author = row(text_and_author, correction[0] if correction else revised_id) or (revised, None)
    return ShownPair(
        messages=read_messages(messages[0]) if messages else (),
        response_id=response_id,
        response=response,
        reference=reference[0] if reference else None,
        revised_id=revised_id,
        revised=revised,
        current_id=correction[0] if correction else revised_id,
        current=current,
        author=author,
        excluded=f"{excluded[0] or 'somebody'}: {excluded[1]}" if excluded else None,
    )


def excluded_ids(database: Database) -> set[str]:
    """The ids of all revisions and corrections whose pair is thrown out."""
    rows = database.fetch(f"SELECT revision_id FROM revisions WHERE response_id IN ({THROWN_OUT})")
    return {revision_id for (revision_id,) in rows}


def exclude(database: Database, pair_id: str, author: str, reason: str) -> None:
    """Throw a pair out, whoever revises its response; if somebody has done so before, their reason stays.

    Raises:
        InputError: there is no such pair.
    """
    found = shown_pair(database, pair_id)
    if found.excluded is None:
        row = {"subject_id": found.revised_id, "response_id": found.response_id}
        database.insert("exclusions", [{**row, "author": author, "reason": reason}])


def include(database: Database, pair_id: str) -> None:
    """Take back `exclude`; raises InputError if there is no such pair."""
    response_id = shown_pair(database, pair_id).response_id
    database.execute("DELETE FROM exclusions WHERE response_id = $id", id=response_id)


def correct(database: Database, pair_id: str, text: str, author: str, *, based_on: str) -> ShownPair:
    """Put a person's words in the place of a revision. The reviser's own text takes a correction back.

    `based_on` is the `current_id` that the person has seen.

    Raises:
        InputError: there is no such pair, the text is empty or that of the response, or somebody else has
            corrected it meanwhile.
    """
    with database.transaction() as connection:
        found = _shown(connection, pair_id)
        if found.current_id != based_on:
            raise InputError(
                f"{found.author or 'somebody'} has changed the correction of this pair meanwhile: load the "
                "pair again, then correct what you see."
            )
        if not text.strip() or text.strip() == found.response.strip():
            raise InputError("a correction must have words and differ from the initial response.")
        if text.strip() == found.revised.strip():
            connection.execute("DELETE FROM corrections WHERE revision_id = ?", [found.revised_id])
        else:
            _save(connection, found.revised_id, text, author)
        return _shown(connection, pair_id)


def _save(connection: duckdb.DuckDBPyConnection, revised_id: str, text: str, author: str) -> None:
    correction_id = ids.correction_id(corrected=revised_id, text=text, author=author)
    connection.execute(
        f"""INSERT OR IGNORE INTO revisions
                (revision_id, response_id, reference_id, model, status, text, author, corrects)
            SELECT $new, response_id, reference_id, 'a person', '{RevisionStatus.SUCCEEDED}', $text, $author,
                   revision_id
            FROM revisions WHERE revision_id = $corrected""",
        {"new": correction_id, "text": text, "author": author, "corrected": revised_id},
    )
    connection.execute(
        "INSERT OR REPLACE INTO corrections (revision_id, correction_id) VALUES (?, ?)",
        [revised_id, correction_id],
    )


def settle_exclusions(database: Database, run_id: str) -> int:
    """Record which admitted pairs of a run people have thrown out; returns how many there are."""
    with database.transaction() as connection:
        for statement in _SETTLE:
            connection.execute(statement, {"run": run_id})
    return database.value(
        f"SELECT count(*) FROM pairs WHERE run_id = $run AND weigh_reason = '{EXCLUDED}'", run=run_id
    )


def judged_ids(database: Database, run_id: str) -> set[str]:
    """The ids under which people may have judged this run's pairs: corrected revisions are among them."""
    rows = database.fetch(
        """SELECT revision_id FROM pairs WHERE run_id = $run AND revision_id IS NOT NULL
           UNION SELECT v.corrects FROM pairs JOIN revisions v USING (revision_id)
           WHERE pairs.run_id = $run AND v.corrects IS NOT NULL""",
        run=run_id,
    )
    return {revision_id for (revision_id,) in rows}


def count_excluded(database: Database, run_id: str) -> int:
    """How many of the run's pairs were thrown out by people, whether it has weighed since or not."""
    return database.value(
        f"SELECT count(*) FROM pairs WHERE run_id = $run AND revision_id IS NOT NULL "
        f"AND response_id IN ({THROWN_OUT})",
        run=run_id,
    )


def count_corrected(database: Database, run_id: str) -> int:
    """How many of the run's pairs have a person's words."""
    return database.value(
        """SELECT count(*) FROM pairs JOIN revisions v USING (revision_id)
           WHERE pairs.run_id = $run AND v.corrects IS NOT NULL""",
        run=run_id,
    )
