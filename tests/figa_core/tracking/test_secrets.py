"""No key of the environment is in a message."""

import pytest

from figa_core.tracking.secrets import without_secrets

KEYS = {
    "WANDB_API_KEY": "abc123def",
    "MLFLOW_TRACKING_PASSWORD": " hunter22\n",
    "HF_TOKEN": "x",
    "HOME": "/root",
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("401 for key abc123def.", "401 for key •••."),
        ("hunter22 and abc123def", "••• and •••"),
        ("https://me:pass@host/path failed", "https://•••@host/path failed"),
        ("http://h/?write_token=abcd&x=1", "http://h/?write_token=•••&x=1"),
        ("/root/x is not found", "/root/x is not found"),
        ("nothing", "nothing"),
    ],
)
def test_keys_and_the_secrets_of_addresses_are_masked(text: str, shown: str) -> None:
    assert without_secrets(text, KEYS) == shown
