"""Verifiers as users write them: good ones and others."""

from collections.abc import Sequence

from figa_core.records import Message

seen: list[tuple[str, str]] = []


def good(messages: Sequence[Message], text: str) -> float:
    seen.append((messages[-1].content, text))
    return 0.5


def none(messages: Sequence[Message], text: str) -> None:
    return None


def ends(messages: Sequence[Message], text: str) -> float:
    raise SystemExit(0)


def choosy(messages: Sequence[Message], text: str) -> float:
    if not text.startswith("Good"):
        raise KeyError("boo")
    return 1.0


def stopped(messages: Sequence[Message], text: str) -> float:
    raise KeyboardInterrupt
