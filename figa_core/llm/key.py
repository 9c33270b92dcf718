"""An API key as people hand it over: from a file, a secret, a shell, with what clings to it."""

from figa_core.errors import ConfigError

_BYTE_ORDER_MARK = "\ufeff"
_QUOTES = "\"'`“”‘’«»"


def usable_key(text: str, variable: str, setting: str) -> str:
    """The key without the white space around it (a file's last newline); the key is never in a message.

    `setting` is the one that names the environment variable.

    Raises:
        ConfigError: it is empty, or holds what no key holds and what a request's header cannot.
    """
    key = text.strip().removeprefix(_BYTE_ORDER_MARK).strip()
    name = f"{setting}: the environment variable {variable}"
    if not key:
        raise ConfigError(f"{name} is empty. Put the reviser's key into it.")
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        raise ConfigError(f"{name} holds a key in quotes. Put the key into it without them.")
    if key.lower().startswith("bearer "):
        raise ConfigError(f"{name} begins with 'Bearer', which is added to it. Put the bare key into it.")
    for place, character in enumerate(key, 1):
        if not "!" <= character <= "~":
            raise ConfigError(
                f"{name} holds {_named(character)} at character {place}, which no key has. "
                "Put the key into it again, without what came along when it was copied."
            )
    return key


def _named(character: str) -> str:
    if character in "\r\n":
        return "a line break"
    return "a space" if character.isspace() else f"the character U+{ord(character):04X}"
