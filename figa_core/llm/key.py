"""API keys from files, secrets and shells, with the characters that get copied along."""

from figa_core.errors import ConfigError

_BYTE_ORDER_MARK = "\ufeff"
_QUOTES = "\"'`“”‘’«»"


def usable_key(text: str, source: str, setting: str) -> str:
    """The key without surrounding white space; no message contains the key.

    `source` is where it comes from, such as "the environment variable KEY", and `setting` what names that.

    Raises:
        ConfigError: it is empty, or has a character that no key has or no HTTP header can carry.
    """
    key = text.strip().removeprefix(_BYTE_ORDER_MARK).strip()
    name = f"{setting}: {source}"
    if not key:
        raise ConfigError(f"{name} is empty. Set it to the API key.")
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        raise ConfigError(f"{name} has quotes around the key. Set it again without them.")
    if key.lower().startswith("bearer "):
        raise ConfigError(
            f"{name} begins with 'Bearer', which is added automatically. Set it to the key alone."
        )
    for place, character in enumerate(key, 1):
        if not "!" <= character <= "~":
            raise ConfigError(
                f"{name} has {_named(character)} at character {place}, which no key has. "
                "Set it again, without what was copied along."
            )
    return key


def _named(character: str) -> str:
    if character in "\r\n":
        return "a line break"
    return "a space" if character.isspace() else f"the character U+{ord(character):04X}"
