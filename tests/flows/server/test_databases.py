"""Which databases a server of ours uses, and what is said about those that cannot be used."""

import socket
from pathlib import Path

import pytest
import yaml

from figa_core.errors import ConfigError
from flows.server.databases import DATABASE_VARIABLE, REDIS_VARIABLE, in_directory, named_by, on_redis, shown

COMPOSE = Path(__file__).parents[3] / "docker" / "compose.yaml"
SECRET = "a-password-that-must-appear-nowhere"


def test_without_a_name_everything_is_in_the_directory(tmp_path: Path) -> None:
    assert named_by({DATABASE_VARIABLE: " "}) == {}
    assert in_directory(tmp_path)[DATABASE_VARIABLE] == f"sqlite+aiosqlite:///{tmp_path}/prefect.db"


def test_what_is_named_replaces_the_directory() -> None:
    with socket.create_server(("127.0.0.1", 0)) as answers:
        port = answers.getsockname()[1]
        url = f"postgresql+asyncpg://prefect:{SECRET}@127.0.0.1:{port}/prefect"
        assert named_by({DATABASE_VARIABLE: url, "PATH": "/bin"}) == {DATABASE_VARIABLE: url}
        assert shown({DATABASE_VARIABLE: url}) == [f"Database: postgresql at 127.0.0.1:{port}/prefect"]


def test_all_that_cannot_be_used_is_said_at_once_and_without_the_password() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        with pytest.raises(ConfigError) as refused:
            named_by(
                {
                    DATABASE_VARIABLE: f"postgresql+asyncpg://prefect:{SECRET}@127.0.0.1:{port}/prefect",
                    REDIS_VARIABLE: f"http://:{SECRET}@localhost",
                }
            )
    said = str(refused.value)
    assert f"{DATABASE_VARIABLE}: nothing answers at 127.0.0.1:{port}" in said
    assert f"{REDIS_VARIABLE}: not an address like redis://" in said
    assert SECRET not in said


@pytest.mark.parametrize("url", ["postgresql://h/prefect", "postgresql+asyncpg:///prefect", "sqlite", "h:x"])
def test_an_address_that_prefect_would_not_take_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"not an address like postgresql\+asyncpg"):
        named_by({DATABASE_VARIABLE: url})


def test_a_port_that_is_no_number_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing answers"):
        named_by({REDIS_VARIABLE: "redis://localhost:port/0"})


def test_the_compose_file_gives_its_server_the_same_settings() -> None:
    server = yaml.safe_load(COMPOSE.read_text())["services"]["server"]["environment"]
    ours = on_redis("redis://redis:6379/0")
    assert {name: server[name] for name in ours} == ours
    assert server[DATABASE_VARIABLE].startswith("postgresql+asyncpg://")
