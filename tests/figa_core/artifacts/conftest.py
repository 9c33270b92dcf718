"""Stores of every kind."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from figa_core.artifacts.store import Store
from tests.figa_core.artifacts.faults import Misbehaving, misbehaving
from tests.figa_core.artifacts.s3 import environment, make_bucket, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, which this process may use."""
    for name, value in environment(s3).items():
        monkeypatch.setenv(name, value)
    name = f"figa-{uuid.uuid4().hex[:12]}"
    make_bucket(name)
    return f"s3://{name}/assistant"


@pytest.fixture(params=["directory", "S3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty one."""
    if request.param == "S3":
        return Store(request.getfixturevalue("bucket"))
    return Store(f"file://{tmp_path}/store")


@pytest.fixture
def faulty(s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Misbehaving]:
    """Between this process and the bucket. The libraries themselves try nothing again."""
    with misbehaving(s3) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield found
