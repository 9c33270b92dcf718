"""People judge, leave, come back, throw pairs out and correct them, several at once."""

from pathlib import Path
from threading import Thread

import pytest

from figa_core.annotation.changes import Verdict, is_shown_reversed
from figa_core.annotation.desk import Desk
from figa_core.annotation.store import JudgementFile
from figa_core.errors import InputError, StorageError, WorkspaceBusyError
from figa_core.processes.lease import workspace_lease
from figa_core.storage import people
from figa_core.storage.database import Database

from .made import SHARDS, TEXTS, new_desk, open_desk

MATTERS, DOES_NOT, WORSE = Verdict


def keys(desk: Desk, place: int, name: str = "ada") -> list[str]:
    return [s["key"] for s in desk.pair(place, name, blind=False)["stretches"] if s["key"]]


def judge_all(desk: Desk, place: int, name: str, verdict: Verdict = MATTERS, *, blind: bool = False) -> bool:
    pair = desk.pair(place, name, blind=blind)
    found = [s["key"] for s in pair["stretches"] if s["key"]]
    return [desk.judge(SHARDS, pair["pair_id"], key, name, verdict, blind=blind) for key in found][-1]


def test_a_person_goes_on_where_they_left_and_others_begin_at_the_start(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    assert desk.next_place("ada", -1) == 0
    assert judge_all(desk, 0, "ada")
    [first, *others] = keys(desk, 1)
    assert others
    assert not desk.judge(SHARDS, "pair-b", first, "ada", WORSE, blind=False)

    again = open_desk(tmp_path)
    assert again.next_place("ada", -1) == 1
    assert again.pair(1, "ada", blind=False)["verdicts"] == {first: WORSE}
    assert (again.state("ada")["done"], again.state(" bob ")["done"]) == (1, 0)
    assert again.next_place("bob", -1) == 0
    assert again.next_place("ada", 2) == 1  # from the start again


def test_pairs_without_a_marked_change_are_passed_over(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, {"p": ("aab", "abb"), "q": ("a", "b")}, scheme="bag_of_words")
    assert desk.next_place("ada", -1) == 1
    state = desk.state("ada")
    assert (state["done"], state["left"], state["pairs"], state["unmarked"]) == (0, 1, 2, 1)
    judge_all(desk, 1, "ada")
    assert desk.next_place("ada", -1) is None
    assert desk.state("ada") | {"done": 1, "left": 1} == desk.state("ada")


def test_what_another_server_stores_counts_at_once(tmp_path: Path) -> None:
    desk, other = new_desk(tmp_path), open_desk(tmp_path)
    assert (desk.state("ada")["done"], other.state("ada")["done"]) == (0, 0)
    judge_all(desk, 0, "ada")
    judge_all(other, 1, "ada")
    assert (desk.state("ada")["done"], other.state("ada")["done"]) == (2, 2)
    assert (desk.next_place("ada", 2), other.next_place("ada", -1)) == (2, 2)
    judge_all(desk, 2, "ada")
    judge_all(desk, 2, "ada")  # again
    assert (desk.state("ada")["done"], other.next_place("ada", -1)) == (3, None)


def test_two_people_on_one_pair_at_once_lose_nothing_and_agree_or_not(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, {f"p{i}": ("abc", "axc") for i in range(8)})
    said = {"ada": MATTERS, "bob": WORSE, "cy": DOES_NOT}
    threads = [
        Thread(target=lambda n=name, v=verdict: [judge_all(desk, place, n, v) for place in range(8)])
        for name, verdict in said.items()
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    found = JudgementFile(tmp_path / "annotations.sqlite").all()
    assert {(j.pair_id, j.annotator, j.verdict) for j in found} == {
        (f"p{i}", name, verdict) for i in range(8) for name, verdict in said.items()
    }
    assert [desk.next_place(name, -1) for name in said] == [None] * 3


def test_with_hidden_sides_nothing_tells_which_is_which_and_verdicts_are_the_right_way_round(
    tmp_path: Path,
) -> None:
    desk = new_desk(tmp_path, {f"p{i}": ("abc", "axc") for i in range(12)})
    flipped = {place for place in range(12) if is_shown_reversed(f"p{place}", "ada")}
    assert 0 < len(flipped) < 12
    for place in range(12):
        pair = desk.pair(place, "ada", blind=True)
        assert pair["rewards"] is None
        assert pair["correction"] is None
        [change] = [s for s in pair["stretches"] if s["key"]]
        assert (change["before"] == "x") == (place in flipped)
        judge_all(desk, place, "ada", MATTERS, blind=True)  # the second answer is better
        assert list(desk.pair(place, "ada", blind=True)["verdicts"].values()) == [MATTERS]
    stored = JudgementFile(tmp_path / "annotations.sqlite").all()
    assert {j.pair_id for j in stored if j.verdict is WORSE} == {f"p{place}" for place in flipped}
    assert all(j.blind for j in stored)


def test_a_desk_that_hides_the_sides_does_so_whatever_the_page_asks(tmp_path: Path) -> None:
    assert new_desk(tmp_path, blind=True).pair(0, "ada", blind=False)["rewards"] is None


def test_a_judgement_counts_as_its_pair_was_shown_even_if_the_sides_are_hidden_by_now(tmp_path: Path) -> None:
    pairs = {f"p{place}": ("ax", "ay") for place in range(12)}
    desk = new_desk(tmp_path, pairs, blind=True)
    for place in range(12):
        judge_all(desk, place, "ada", MATTERS, blind=False)
    stored = JudgementFile(tmp_path / "annotations.sqlite").all()
    assert [(each.verdict, each.blind) for each in stored] == [(MATTERS, False)] * 12


def test_a_page_of_another_run_or_scheme_stores_nothing(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    for shards, pair in (("shards-2", "pair-a"), (SHARDS, "pair-z")):
        with pytest.raises(InputError, match="another run or scheme"):
            desk.judge(shards, pair, "8-9:8-9", "ada", MATTERS, blind=False)
        with pytest.raises(InputError, match="another run or scheme"):
            desk.throw_out(shards, pair, "ada", "")
        with pytest.raises(InputError, match="another run or scheme"):
            desk.correct(shards, pair, "ada", "x", based_on=pair)
    with pytest.raises(InputError, match="no such change under the scheme levenshtein"):
        desk.judge(SHARDS, "pair-a", "0-1:0-1", "ada", MATTERS, blind=False)
    assert JudgementFile(tmp_path / "annotations.sqlite").all() == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\0b", "a\u200bb"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="give a name of 1 to 60 printable characters"):
        new_desk(tmp_path).state(name)


def test_a_pair_that_is_thrown_out_is_shown_to_nobody_and_can_be_put_back(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    desk.throw_out(SHARDS, "pair-a", "ada", " wrong sum ")
    desk.throw_out(SHARDS, "pair-a", "bob", "")  # at the same time: the first one counts
    assert desk.pair(0, "bob", blind=False)["excluded"] == "ada: wrong sum"
    assert desk.next_place("bob", -1) == 1
    assert desk.state("bob") | {"left": 2, "excluded": 1} == desk.state("bob")
    assert open_desk(tmp_path).next_place("cy", -1) == 1
    desk.put_back(SHARDS, "pair-a")
    assert desk.next_place("bob", -1) == 0


def test_of_two_corrections_at_once_the_second_sees_the_first_before_it_is_stored(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    seen = desk.pair(0, "ada", blind=False)["correction"]
    assert seen == {"id": "pair-a", "text": "2 + 2 = 4", "author": None}
    mine = desk.correct(SHARDS, "pair-a", "ada", "it is 4\r\n", based_on=seen["id"])
    assert (mine["text"], mine["author"]) == ("it is 4\n", "ada")
    with pytest.raises(InputError, match="ada has changed the correction of this pair meanwhile"):
        desk.correct(SHARDS, "pair-a", "bob", "it is four", based_on=seen["id"])
    assert desk.pair(0, "bob", blind=False)["correction"] == mine
    theirs = desk.correct(SHARDS, "pair-a", "bob", "it is four", based_on=mine["id"])
    back = desk.correct(SHARDS, "pair-a", "bob", "2 + 2 = 4", based_on=theirs["id"])
    assert back == seen


@pytest.mark.parametrize("text", ["", " \n", "2 + 2 = 5", " 2 + 2 = 5 ", "a\0"])
def test_a_correction_that_cannot_be_trained_on_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        new_desk(tmp_path).correct(SHARDS, "pair-a", "ada", text, based_on="pair-a")


def test_while_a_run_holds_the_workspace_judgements_are_stored_and_nothing_else(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    with workspace_lease(tmp_path, owner="figa run"):
        assert "figa run" in desk.state("ada")["held_by"]
        assert "figa run" in desk.pair(0, "ada", blind=False)["held_by"]
        assert judge_all(desk, 0, "ada")
        for decide in (
            lambda: desk.throw_out(SHARDS, "pair-b", "ada", ""),
            lambda: desk.put_back(SHARDS, "pair-b"),
            lambda: desk.correct(SHARDS, "pair-b", "ada", "x", based_on="pair-b"),
        ):
            with pytest.raises(WorkspaceBusyError, match="figa run"):
                decide()
    assert desk.state("ada")["held_by"] is None
    assert people.excluded_ids(Database(tmp_path / "figa.duckdb")) == set()
    desk.throw_out(SHARDS, "pair-b", "ada", "")


def test_only_so_many_pairs_are_shown(tmp_path: Path) -> None:
    desk = new_desk(tmp_path, pairs_max=1)
    assert judge_all(desk, 0, "ada")
    assert desk.next_place("ada", 0) is None
    with pytest.raises(InputError, match="another run or scheme"):
        desk.judge(SHARDS, "pair-b", "0-1:0-1", "ada", MATTERS, blind=False)
    with pytest.raises(InputError, match="there is no pair 2"):
        desk.pair(1, "ada", blind=False)


def test_texts_of_rows_come_out_as_they_are(tmp_path: Path) -> None:
    pair = new_desk(tmp_path).pair(2, "ada", blind=False)
    both = tuple("".join(s[side] for s in pair["stretches"]) for side in ("before", "after"))
    assert both == TEXTS["pair-c"]
    assert pair["messages"] == [{"role": "user", "text": "what about <pair-c>?"}]


def test_a_damaged_file_of_judgements_says_what_to_do(tmp_path: Path) -> None:
    desk = new_desk(tmp_path)
    (tmp_path / "annotations.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StorageError, match="restore it from a backup or move it away"):
        judge_all(desk, 0, "ada")
