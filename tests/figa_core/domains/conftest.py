from collections.abc import Callable, Sequence

import pytest

from figa_core.domains.base import Row
from figa_core.records import Message


@pytest.fixture
def messages_of() -> Callable[[Row], Sequence[Message]]:
    return lambda row: [Message(**message) for message in row["prompt"]]
