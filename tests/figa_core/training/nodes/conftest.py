"""This machine's address, where it has one."""

import pytest

from figa_core.errors import TrainingError
from figa_core.training.nodes.addresses import own_address


@pytest.fixture
def address() -> str:
    try:
        return own_address()
    except TrainingError as error:
        pytest.skip(str(error))
