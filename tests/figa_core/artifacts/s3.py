"""An S3 server for tests: moto's, a real HTTP server that speaks the protocol, in a thread."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

MISSING = "needs s3fs and moto (pip install -r docker/s3.lock.txt -r docker/moto.lock.txt)"


@contextmanager
def s3_server() -> Iterator[str]:
    """Its address; a client finds it by AWS_ENDPOINT_URL."""
    pytest.importorskip("s3fs", reason=MISSING)
    server = pytest.importorskip("moto.server", reason=MISSING).ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def environment(endpoint: str) -> dict[str, str]:
    """What a process needs to use the server."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "tests",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def make_bucket(name: str) -> None:
    """By the environment's server."""
    pytest.importorskip("s3fs", reason=MISSING).S3FileSystem(skip_instance_cache=True).mkdir(name)


if __name__ == "__main__":  # on another host
    make_bucket(sys.argv[1])
