"""A misbehaving server, and journals of its answers."""

from tests.figa_core.llm.fixtures import run, runner, server

__all__ = ["run", "runner", "server"]
