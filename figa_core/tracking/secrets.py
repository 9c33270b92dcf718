"""Takes the keys in the environment out of a text for people."""

import re
from collections.abc import Mapping

MASK = "•••"
_NAMES = re.compile(r"(?:KEY|TOKEN|PASSWORD|SECRET)$", re.IGNORECASE)
_SHORTEST = 4  # a shorter one would be found in any text
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_IN_QUERY = re.compile(r"(?i)((?:key|token|secret|password)=)[^&\s'\"]+")


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """The text without values of variables whose names end in KEY, TOKEN and the like, and without the user,
    password and key of an address.
    """
    values = [value.strip() for name, value in environment.items() if _NAMES.search(name)]
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, MASK)
    return _IN_QUERY.sub(rf"\1{MASK}", _IN_ADDRESS.sub(f"{MASK}@", text))
