"""Where a workspace may lie."""

from figa_core.config.decisions import nothing
from figa_core.config.section import Section


class StorageConfig(Section):
    """What is permitted of the disk that holds the workspace."""

    database_on_network: bool = nothing(
        False,
        "Open the database on a network file system such as NFS. Only where its locks hold between all "
        "machines: without them two writers destroy the file.",
    )
