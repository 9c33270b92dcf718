"""A store that is away, overloaded or breaks off, by a server that misbehaves at the transport."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from figa_core.artifacts.patience import Patience
from figa_core.artifacts.store import Store
from figa_core.errors import ArtifactsError, InterruptedRunError
from figa_core.processes import interruption
from tests.figa_core.artifacts.faults import Fault, Misbehaving
from tests.figa_core.artifacts.waiting import until

SHORT_S = 0.01


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are shorter than across a network."""
    monkeypatch.setattr("figa_core.artifacts.store.Patience", partial(Patience, first_s=SHORT_S))


@dataclass
class Patient:
    """A store that waits, and what it has told."""

    bucket: str
    told: list[str] = field(default_factory=list)

    def store(self, seconds: float = 600.0) -> Store:
        return Store(self.bucket).patient(seconds, self.told.append)


@pytest.fixture
def patient(bucket: str) -> Patient:
    return Patient(bucket)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of a size that is sent in several pieces."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 4096)
    return path


def _calls(store: Store, file: Path) -> dict[str, Callable[[], object]]:
    back = file.with_name("back")
    return {
        "send": lambda: store.send(file, "there"),
        "fetch": lambda: store.fetch("there", back) and back.read_bytes() == file.read_bytes(),
        "read": lambda: store.read("there") == file.read_bytes(),
        "write": lambda: store.write("small", b"1"),
        "listing": lambda: set(store.listing(".")),
        "remove": lambda: store.remove(["small"]),
    }


@pytest.mark.parametrize("fault", [Fault.SLOW_DOWN, Fault.RESET], ids=lambda fault: fault.name)
@pytest.mark.parametrize("name", ["send", "fetch", "read", "write", "listing", "remove"])
def test_a_call_that_fails_for_the_time_being_is_made_again(
    faulty: Misbehaving, patient: Patient, file: Path, fault: Fault, name: str
) -> None:
    store = patient.store()
    calls = _calls(store, file)
    store.send(file, "there")
    store.write("small", b"1")
    expected = calls[name]()
    faulty.due.extend([fault] * 5)
    assert calls[name]() == expected
    assert not faulty.due
    assert len(patient.told) == 2
    assert "the store is away or overloaded" in patient.told[0].lower()
    assert patient.told[1].startswith("the store answers again")


def test_an_answer_that_breaks_off_leaves_no_half_file(
    faulty: Misbehaving, patient: Patient, file: Path
) -> None:
    store = patient.store()
    store.send(file, "there")
    faulty.due.extend([Fault.CUT] * 5)
    assert store.fetch("there", file.with_name("back"))
    assert file.with_name("back").read_bytes() == file.read_bytes()
    assert not list(file.parent.glob("*.partial"))


def test_a_store_that_is_not_patient_says_what_where_and_what_to_do(
    faulty: Misbehaving, patient: Patient
) -> None:
    faulty.away = True
    with pytest.raises(
        ArtifactsError, match=r"s3://.*: cannot read small .*away or overloaded.*Retry"
    ) as raised:
        Store(patient.bucket).read("small")
    assert raised.value.may_pass
    assert patient.told == []


def test_a_store_that_stays_away_is_given_up_in_the_end(faulty: Misbehaving, patient: Patient) -> None:
    faulty.away = True
    store = patient.store(seconds=0.3)
    with pytest.raises(ArtifactsError, match=r"cannot read small .*It was tried for \d+ s\.$"):
        store.read("small")
    assert len(faulty.requests) == 0
    assert len(patient.told) <= 1


def test_a_bucket_that_does_not_exist_is_not_waited_for(faulty: Misbehaving, patient: Patient) -> None:
    missing = Store(patient.bucket.replace("/assistant", "x/assistant")).patient(600, patient.told.append)
    with pytest.raises(ArtifactsError, match=r"(?i)bucket does not exist") as raised:
        missing.write("small", b"1")
    assert not raised.value.may_pass
    assert len(faulty.requests) == 1


def test_whoever_waits_for_a_store_can_be_stopped(faulty: Misbehaving, patient: Patient) -> None:
    store = patient.store()
    faulty.away = True

    def stop() -> None:
        until(lambda: patient.told)
        interruption.request()

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        with pytest.raises(InterruptedRunError):
            store.read("small")
    finally:
        thread.join()
        interruption.clear()


def test_a_transfer_of_a_patient_store_ends_when_the_run_is_stopped(patient: Patient, file: Path) -> None:
    Store(patient.bucket).send(file, "there")
    interruption.request()
    try:
        with pytest.raises(InterruptedRunError):
            patient.store().fetch("there", file.with_name("back"))
        assert not list(file.parent.glob("back*"))
        Store(patient.bucket).fetch("there", file.with_name("back"))  # what must be finished first is
    finally:
        interruption.clear()
    assert file.with_name("back").read_bytes() == file.read_bytes()


def test_expired_credentials_are_said_at_once_and_with_new_ones_it_goes_on(
    faulty: Misbehaving, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty.fault_of = lambda head: Fault.EXPIRED if b"Credential=tests/" in head else None
    store = patient.store()
    with pytest.raises(ArtifactsError, match=r"cannot write small .*expired.*Renew them.*Retry"):
        store.write("small", b"1")
    assert patient.told == []
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
    store.write("small", b"1")
    assert store.read("small") == b"1"


def test_a_clock_that_is_wrong_is_said_at_once(faulty: Misbehaving, patient: Patient) -> None:
    faulty.fault_of = lambda _: Fault.SKEWED
    with pytest.raises(ArtifactsError, match=r"cannot write small .*clock of this machine.*by NTP"):
        patient.store().write("small", b"1")
    assert len(faulty.requests) == 1


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of keys that this process reads, in the place of its environment."""
    path = tmp_path / "credentials"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return path


def test_keys_that_were_renewed_in_their_file_are_taken_without_an_error(
    faulty: Misbehaving, patient: Patient, key_file: Path
) -> None:
    def write(name: str) -> None:
        key_file.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = secret\n")

    write("first")
    store = Store(patient.bucket)
    store.write("small", b"1")
    faulty.fault_of = lambda head: Fault.EXPIRED if b"Credential=first/" in head else None
    write("second")
    assert store.read("small") == b"1"
