"""Work that was ordered elsewhere is refused if it cannot be read here, or the model is another one."""

from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.inference.ordered_work import check_same_model, read_ordered


@pytest.mark.parametrize("error", [ValueError("no JSON"), KeyError("model")])
def test_what_another_version_wrote_is_refused_with_the_folder(error: Exception) -> None:
    def read() -> None:
        raise error

    with pytest.raises(EngineError, match=r"/shared/order: this version of figa cannot read what is ordered"):
        read_ordered(Path("/shared/order"), read)
    assert read_ordered(Path("/shared/order"), lambda: 7) == 7


def test_a_model_with_other_files_is_refused() -> None:
    fingerprints = {Path("/models/a"): "one"}
    check_same_model(Path("/models/a"), "one", fingerprints.__getitem__)
    with pytest.raises(EngineError, match="/models/a is another model on this machine"):
        check_same_model(Path("/models/a"), "two", fingerprints.__getitem__)
