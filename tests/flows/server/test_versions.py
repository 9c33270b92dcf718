"""A worker of another version than the deployments is refused at the start of a run."""

import pytest
from prefect.client.orchestration import get_client

from figa_core.errors import ConfigError
from flows.progress import Lines, showing
from flows.server.names import CODE_VARIABLE, VERSION_VARIABLE
from flows.server.own_worker import check_own_worker
from flows.server.versions import check_version, deployed_version, own_code, own_version, save_variable


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


async def test_other_code_of_the_same_version_is_said_and_refused_to_nobody(prefect_api: str) -> None:
    told = list[str]()
    async with get_client() as client:
        with showing(Lines(told.append)):
            check_own_worker()  # a release that did not record it made the deployments
            await save_variable(client, CODE_VARIABLE, own_code())
            check_own_worker()
            assert told == []
            await save_variable(client, CODE_VARIABLE, "0123456789ab")
            try:
                check_own_worker()
            finally:
                await client.delete_variable_by_name(CODE_VARIABLE)
    assert len(told) == 1
    assert f"(hash {own_code()}) is not that of the deployments (0123456789ab)" in told[0]
    assert "python -m deployments.deploy" in told[0]
