"""Where a run's own servers are, in the settings."""

from typing import Any

import pytest
from pydantic import ValidationError

from figa_core.config.serving import ServingConfig


@pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "::", " 10.0.0.5 ", "gpu-1.cluster"])
def test_an_address_to_listen_on_is_one_of_the_machine(listen: str) -> None:
    assert ServingConfig(listen=listen).listen == listen.strip()


@pytest.mark.parametrize("address", ["gpu1", "{host}", "{host}.cluster", "fe80::1", "10.0.0.5"])
def test_the_address_for_the_run_may_hold_the_machines_name(address: str) -> None:
    assert ServingConfig(address=address).address == address


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"listen": "0.0.0.0:8000/v1"}, "address of the machine alone"),
        ({"listen": ""}, "address of the machine alone"),
        ({"address": "http://gpu1"}, "without http:// and port"),
        ({"address": "{name}"}, "without http:// and port"),
        ({"address": "gpu1 --allow-credentials"}, "without http:// and port"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"port": 65_500}, "less than or equal to 65279"),
    ],
)
def test_what_is_no_address_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ServingConfig(**settings)
