"""A directory and its copy, kept alike: order, signs of life, and a store that fails for a time."""

import threading
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest

from figa_core.artifacts.mirror import Mirror, Sides
from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError
from figa_core.files import sealing_last, whole_files
from tests.figa_core.artifacts.counting import Counting
from tests.figa_core.artifacts.faults import Fault, Misbehaving
from tests.figa_core.artifacts.waiting import until


@pytest.fixture
def counting(tmp_path: Path) -> Counting:
    return Counting(f"file://{tmp_path}/store")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return tmp_path / "here"


def _write(directory: Path, **files: str) -> None:
    for name, content in files.items():
        path = directory / name.replace("__", "/").replace("_json", ".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def _sealed(directory: Path) -> Iterable[str]:
    return sealing_last(whole_files(directory), "manifest.json")


def test_what_one_side_writes_the_other_gets(store: Store, tmp_path: Path) -> None:
    _write(tmp_path / "a", one="1", below__two="2")
    Mirror(store, "dir", tmp_path / "a", Sides(sent=whole_files)).round()
    Mirror(store, "dir", tmp_path / "b", Sides(fetched=sorted)).round()
    assert whole_files(tmp_path / "b") == ["below/two", "one"]
    assert (tmp_path / "b" / "below" / "two").read_text() == "2"


def test_the_file_that_seals_the_others_is_sent_last(counting: Counting, here: Path) -> None:
    _write(here, manifest_json="{}", one="1", z="2")
    Mirror(counting, "dir", here, Sides(sent=_sealed)).round()
    assert counting.sent == ["dir/one", "dir/z", "dir/manifest.json"]


def test_only_what_has_changed_is_sent_again(counting: Counting, here: Path) -> None:
    _write(here, one="1", two="2")
    mirror = Mirror(counting, "dir", here, Sides(sent=whole_files))
    mirror.round()
    _write(here, two="3")
    mirror.round()
    mirror.round()
    assert counting.sent == ["dir/one", "dir/two", "dir/two"]


def test_only_what_has_changed_is_fetched_again(counting: Counting, here: Path) -> None:
    for name in ("dir/one", "dir/two"):
        counting.write(name, b"1")
    mirror = Mirror(counting, "dir", here, Sides(fetched=sorted))
    mirror.round()
    counting.write("dir/one", b"other")
    mirror.round()
    mirror.round()
    assert counting.fetched == ["dir/one", "dir/two", "dir/one"]
    assert (here / "one").read_text() == "other"


def test_files_that_are_being_written_stay_here(counting: Counting, here: Path) -> None:
    _write(here, whole="1")
    (here / "half.17.partial").write_text("2")
    (here / "model.partial").mkdir()
    (here / "model.partial" / "weights").write_text("3")
    (here / "a.lock").touch()
    Mirror(counting, "dir", here, Sides(sent=whole_files)).round()
    assert counting.sent == ["dir/whole"]


def test_a_sign_of_life_does_not_wait_for_all_other_files(counting: Counting, here: Path) -> None:
    """Here every file takes too long."""

    class Beating(Counting):
        def send(self, source: Path, name: str) -> bool:
            found = super().send(source, name)
            if not name.endswith("alive"):
                (here / "alive").write_text(f"after {name}")
            return found

    beating = Beating(counting.url)
    _write(here, alive="0", one="1", two="2")
    sides = Sides(sent=lambda directory: ["alive", "one", "two"])
    Mirror(beating, "dir", here, sides, slice_s=0.0).round()
    assert beating.sent == ["dir/alive", "dir/one", "dir/alive", "dir/two", "dir/alive"]


def test_a_sign_of_life_does_not_wait_for_all_files_that_are_fetched(counting: Counting, here: Path) -> None:
    """Here every file takes too long."""

    class Beating(Counting):
        def fetch(self, name: str, target: Path) -> bool:
            (here / "alive").write_text(f"after {name}")
            return super().fetch(name, target)

    beating = Beating(counting.url)
    for name in ("dir/one", "dir/two"):
        counting.write(name, b"1")
    _write(here, alive="0")
    sides = Sides(lambda directory: ["alive"], lambda names: sorted(set(names) - {"alive"}))
    Mirror(beating, "dir", here, sides, slice_s=0.0).round()
    assert beating.sent == ["dir/alive"] * 3


def test_when_the_context_has_ended_nothing_runs_any_more(counting: Counting, here: Path) -> None:
    may_end = threading.Event()

    def sent(_: Path) -> list[str]:
        if threading.current_thread().name.startswith("mirror of"):
            may_end.wait(0.2)
        return []

    with Mirror(counting, "dir", here, Sides(sent=sent), every_s=0.01):
        until(lambda: [each for each in threading.enumerate() if each.name == "mirror of dir"])
    assert not [each for each in threading.enumerate() if each.name == "mirror of dir"]


def test_it_runs_beside_the_work_and_a_last_time_at_the_end(store: Store, here: Path) -> None:
    _write(here, metrics="1")
    with Mirror(store, "dir", here, Sides(sent=whole_files), every_s=0.02):
        until(lambda: store.read("dir/metrics") == b"1")
        _write(here, metrics="12")
        until(lambda: store.read("dir/metrics") == b"12")
        _write(here, metrics="123")
    assert store.read("dir/metrics") == b"123"


def test_a_store_that_fails_for_a_time_is_said_once_and_ends_nothing(
    counting: Counting, here: Path, tmp_path: Path
) -> None:
    told = list[str]()
    place = tmp_path / "store"
    place.write_text("not a directory")
    _write(here, one="1")
    with Mirror(counting, "dir", here, Sides(sent=whole_files), every_s=0.02, tell=told.append):
        until(lambda: len(counting.sent) > 3)
        place.unlink()
        until(lambda: counting.read("dir/one") == b"1")
    assert [line for line in told if "cannot write dir/one" in line] == told[:1]


def test_what_cannot_be_sent_at_the_end_is_an_error(counting: Counting, here: Path, tmp_path: Path) -> None:
    _write(here, one="1")
    (tmp_path / "store").write_text("not a directory")
    with (
        pytest.raises(ArtifactsError, match="cannot write dir/one"),
        Mirror(counting, "dir", here, Sides(sent=whole_files)),
    ):
        pass


def test_a_store_that_is_away_at_the_end_is_waited_for(faulty: Misbehaving, bucket: str, here: Path) -> None:
    told, store = list[str](), Counting(bucket)
    _write(here, one="1")
    faulty.away = True

    def come_back() -> None:
        until(lambda: len(store.sent) > 3)
        faulty.away = False

    thread = threading.Thread(target=come_back)
    thread.start()
    with Mirror(
        store, "dir", here, Sides(sent=whole_files), every_s=0.05, patience_s=600, tell=told.append
    ) as mirror:
        mirror.stop()  # only the end is of interest
    thread.join()
    assert store.read("dir/one") == b"1"
    assert told == [told[0]]
    assert told[0].endswith("Trying again for 10 minutes")


def test_keys_that_have_expired_at_the_end_are_said_at_once(
    faulty: Misbehaving, bucket: str, here: Path
) -> None:
    _write(here, one="1")
    faulty.fault_of = lambda _: Fault.EXPIRED
    store = Counting(bucket)
    with (
        pytest.raises(ArtifactsError, match=r"cannot write dir/one .*Renew them"),
        Mirror(store, "dir", here, Sides(sent=whole_files), every_s=600, patience_s=600),
    ):
        pass
    assert store.sent == ["dir/one"]


def test_what_follows_a_round_is_done_after_it_and_its_error_is_the_rounds(
    counting: Counting, here: Path
) -> None:
    _write(here, one="1")
    mirror = Mirror(
        counting, "dir", here, Sides(sent=whole_files), stale_s=0.0, after=lambda: _away(counting)
    )
    with pytest.raises(ArtifactsError, match="after dir/one"):
        mirror.round()


def _away(counting: Counting) -> None:
    raise ArtifactsError(f"away after {counting.sent[-1]}")


def test_once_it_may_not_nothing_is_sent(counting: Counting, here: Path) -> None:
    _write(here, one="1", two="2")
    sides = Sides(sent=whole_files)
    Mirror(counting, "dir", here, sides, may_send=lambda: not counting.sent).round()
    assert counting.sent == ["dir/one"]


def test_what_is_here_is_behind_while_the_store_is_away_and_no_longer(
    faulty: Misbehaving, bucket: str, here: Path
) -> None:
    _write(here, one="1")
    store = Store(bucket)
    with Mirror(store, "dir", here, Sides(sent=whole_files), every_s=0.02, stale_s=3600) as mirror:
        assert not mirror.is_behind()
        until(lambda: store.read("dir/one") == b"1")
        faulty.away = True
        _write(here, one="2")
        until(mirror.is_behind)
        faulty.away = False
        until(lambda: not mirror.is_behind())
        assert store.read("dir/one") == b"2"


def test_a_store_that_is_away_for_too_long_is_an_error_for_whoever_asks(
    faulty: Misbehaving, bucket: str, here: Path
) -> None:
    _write(here, one="1")
    faulty.away = True
    mirror = Mirror(
        Store(bucket), "dir", here, Sides(sent=whole_files), every_s=0.02, away_s=0.2, needs_last=False
    )
    with (
        mirror,
        pytest.raises(ArtifactsError, match=r"cannot write dir/one .*It was tried for \d+ s\.$"),
    ):
        until(lambda: mirror.is_behind() and False)


def test_keys_that_have_expired_are_an_error_at_once_for_whoever_asks(
    faulty: Misbehaving, bucket: str, here: Path
) -> None:
    _write(here, one="1")
    faulty.fault_of = lambda _: Fault.EXPIRED
    mirror = Mirror(Store(bucket), "dir", here, Sides(sent=whole_files), every_s=0.02, needs_last=False)
    with mirror, pytest.raises(ArtifactsError, match=r"cannot write dir/one .*Renew them") as raised:
        until(lambda: mirror.is_behind() and False)
    assert not raised.value.may_pass


def test_without_a_whole_round_for_long_it_is_behind_but_no_error(counting: Counting, here: Path) -> None:
    mirror = Mirror(counting, "dir", here, Sides(sent=whole_files), away_s=0.0, stale_s=0.05)
    until(mirror.is_behind)
    mirror.round()
    assert not mirror.is_behind()


def test_a_last_round_that_is_not_needed_ends_nothing(counting: Counting, here: Path, tmp_path: Path) -> None:
    told = list[str]()
    _write(here, one="1")
    (tmp_path / "store").write_text("not a directory")
    with Mirror(counting, "dir", here, Sides(sent=whole_files), needs_last=False, tell=told.append):
        pass
    assert "cannot write dir/one" in told[0]


def test_what_was_just_fetched_is_not_sent_back(counting: Counting, here: Path) -> None:
    _write(here, one="1", two="2")
    mirror = Mirror(counting, "dir", here, Sides(sent=whole_files))
    mirror.adopt(["one", "gone"])
    mirror.round()
    assert counting.sent == ["dir/two"]
    assert mirror.has_sent("one")
    _write(here, one="other")
    assert not mirror.has_sent("one")


def test_the_error_of_the_work_is_not_hidden_by_one_of_the_store(
    counting: Counting, here: Path, tmp_path: Path
) -> None:
    told = list[str]()
    _write(here, one="1")
    (tmp_path / "store").write_text("not a directory")
    with (
        pytest.raises(ValueError, match="the work"),
        Mirror(counting, "dir", here, Sides(sent=whole_files), tell=told.append),
    ):
        raise ValueError("the work")
    assert "cannot write dir/one" in told[0]


def test_two_sides_write_into_one_directory(store: Store, tmp_path: Path) -> None:
    """The other's files come, and one's own stay as they are."""

    def other(prefix: str) -> Sides:
        def fetched(names: Collection[str]) -> list[str]:
            return sorted(name for name in names if not name.startswith(prefix))

        return Sides(lambda directory: [n for n in whole_files(directory) if n.startswith(prefix)], fetched)

    for side in ("a", "b"):
        _write(tmp_path / side, **{f"{side}1": side})
    with (
        Mirror(store, "dir", tmp_path / "a", other("a"), every_s=0.02),
        Mirror(store, "dir", tmp_path / "b", other("b"), every_s=0.02),
    ):
        for side, others in (("a", "b1"), ("b", "a1")):
            until((tmp_path / side / others).exists)
    assert whole_files(tmp_path / "a") == whole_files(tmp_path / "b") == ["a1", "b1"]
