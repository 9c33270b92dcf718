"""A worker of another version than the deployments is refused at the start of a run."""

import pytest
from prefect.variables import Variable

from figa_core.errors import ConfigError
from flows.server.names import VERSION_VARIABLE
from flows.server.versions import check_version, deployed_version, own_version


async def test_only_another_version_is_refused_with_both_named(prefect_api: str) -> None:
    try:
        assert deployed_version() is None  # of a release that did not record it
        check_version()
        await Variable.aset(VERSION_VARIABLE, own_version())
        check_version()
        await Variable.aset(VERSION_VARIABLE, "99.0", overwrite=True)
        with pytest.raises(
            ConfigError, match=rf"figa {own_version()} runs on .*made by figa 99\.0"
        ) as refused:
            check_version()
        assert "Install figa 99.0 there" in str(refused.value)
    finally:
        await Variable.aunset(VERSION_VARIABLE)
