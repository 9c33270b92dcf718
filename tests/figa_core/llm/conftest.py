"""A misbehaving server, and rows to revise: a revision is the question that these tests ask."""

from tests.figa_core.llm.fixtures import draft, make_rows, revised, run, runner, server

__all__ = ["draft", "make_rows", "revised", "run", "runner", "server"]
