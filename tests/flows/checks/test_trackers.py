"""Trackers whose library is not installed."""

import pytest

from figa_core.tracking.extras import LIBRARIES
from flows.checks.trackers import check_libraries

from .conftest import MakeFacts


def test_every_library_that_is_missing_is_named_with_the_command_that_installs_it(
    facts: MakeFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIBRARIES, "wandb", "no_such_module")
    monkeypatch.setitem(LIBRARIES, "mlflow", "no_other_module")
    monkeypatch.setitem(LIBRARIES, "trackio", "json")
    found = list(check_libraries(facts(tracking={"to": ["wandb", "mlflow", "trackio"]})))
    assert [finding.is_problem for finding in found] == [True, True]
    assert str(found[0]) == (
        "tracking.to: wandb: the library no_such_module is not installed. "
        "Install it: pip install 'figa[wandb]'"
    )
    assert "pip install 'figa[mlflow]'" in str(found[1])


def test_without_trackers_nothing_is_looked_for(facts: MakeFacts) -> None:
    assert list(check_libraries(facts())) == []
