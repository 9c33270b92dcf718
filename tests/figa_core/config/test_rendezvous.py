"""Where the nodes of a training meet."""

import pytest
from pydantic import ValidationError

from figa_core.config.rendezvous import RendezvousConfig, host_and_port
from figa_core.config.training import TrainingConfig


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("gpu1:29500", ("gpu1", 29500)),
        (" gpu1.example.org:1 ", ("gpu1.example.org", 1)),
        ("10.0.0.1:65535", ("10.0.0.1", 65535)),
        ("[fd00::1]:29500", ("fd00::1", 29500)),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, parts: tuple[str, int]) -> None:
    assert host_and_port(text) == parts
    assert RendezvousConfig(address=text).address == text.strip()


@pytest.mark.parametrize(
    "text", ["gpu1", "gpu1:", ":29500", "gpu1:0", "gpu1:65536", "http://gpu1:1", "fd00::1:29500"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match='such as "gpu1:29500"'):
        RendezvousConfig(address=text)


def test_it_is_found_by_itself_unless_given() -> None:
    assert RendezvousConfig().address is None
    assert RendezvousConfig.model_validate({"address": "none"}).address is None


def test_the_ranks_are_those_of_all_nodes() -> None:
    assert TrainingConfig(processes=3).ranks == 3
    assert TrainingConfig(nodes=2, processes=3).ranks == 6
