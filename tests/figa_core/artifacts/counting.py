"""A store that remembers what went through it."""

from pathlib import Path

from figa_core.artifacts.store import Store


class Counting(Store):
    """Notes what is sent and fetched."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent: list[str] = []
        self.fetched: list[str] = []

    def send(self, source: Path, name: str) -> bool:
        self.sent.append(name)
        return super().send(source, name)

    def fetch(self, name: str, target: Path) -> bool:
        self.fetched.append(name)
        return super().fetch(name, target)
