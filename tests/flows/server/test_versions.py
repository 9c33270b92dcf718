"""A worker of another version than the deployments is refused at the start of a run."""

import pytest
from prefect.client.orchestration import get_client

from figa_core.errors import ConfigError
from flows.server.names import VERSION_VARIABLE
from flows.server.versions import check_version, deployed_version, own_version, save_variable


async def test_only_another_version_is_refused_with_both_named(prefect_api: str) -> None:
    async with get_client() as client:
        assert deployed_version() is None  # of a release that did not record it
        check_version()
        await save_variable(client, VERSION_VARIABLE, own_version())
        check_version()
        await save_variable(client, VERSION_VARIABLE, "99.0")
        try:
            with pytest.raises(ConfigError, match=r"made by figa 99\.0") as refused:
                check_version()
        finally:  # other tests use the server
            await client.delete_variable_by_name(VERSION_VARIABLE)
    assert f"figa {own_version()} runs on" in str(refused.value)
    assert "Install figa 99.0 there" in str(refused.value)
