"""Where a workspace may lie, and how other machines reach its files."""

from typing import Annotated

from pydantic import AfterValidator

from figa_core.config.decisions import nothing
from figa_core.config.section import Section


def _url(text: str | None) -> str | None:
    kind, separator, place = (text or "").partition("://")
    if text is not None and not (kind.isalnum() and separator and place.strip("/")):
        raise ValueError('must be a URL such as "s3://bucket/assistant"')
    if ":" in place.rpartition("@")[0] or "?" in place:
        raise ValueError(
            "must not contain a password or a query; the store's library reads keys from the environment"
        )
    return text


Url = Annotated[str | None, AfterValidator(_url)]


class StorageConfig(Section):
    """The disk that holds the workspace, and the store of machines that do not share it."""

    artifacts: Url = nothing(
        None,
        "An fsspec URL of this workspace's own, such as s3://bucket/assistant, for workers that do not share "
        "its disk: shard sets, trainings with their checkpoints, and the shards of generation.workers go "
        'through it. The workspace has the same path there. "none" if they share the disk.',
    )

    database_on_network: bool = nothing(
        False,
        "Open the database on a network file system such as NFS. Only where its locks hold between all "
        "machines: without them two writers destroy the file. A run with it permits it for all commands.",
    )
