"""The files of deployments/k8s, and what Kubernetes' own schemas say of a manifest."""

from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "deployments" / "k8s"
VERSIONS = ("1.33", "1.37")
"""The oldest that has all that we use (success policies), and the newest of the schemas."""


def manifests(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def values(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def check(manifest: dict[str, Any]) -> None:
    """Raises kubernetes_validate.ValidationError if a version refuses it, also for a field that it lacks."""
    validate = pytest.importorskip("kubernetes_validate", reason="`make test` installs it")
    for version in VERSIONS:
        validate.validate(manifest, version, strict=True)
