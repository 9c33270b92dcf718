"""Orders for servers, as the machine that has them reads them."""

from dataclasses import replace
from pathlib import Path

import pytest

from figa_core.errors import EngineError
from figa_core.file_hashes import write_sealed
from figa_core.inference.copies import Copies
from figa_core.inference.server.order import Listening, Order
from figa_core.inference.server.serving import serve_order
from figa_core.inference.server.serving_folder import Ordered, ServingFolder, new_serving_folder

ORDER = Order(Path("/models/base"), "figa-1", "a-key", 300, 0.9, Copies(2, None, "generation.vllm"), 64)
ORDERED = Ordered(ORDER, Listening("0.0.0.0", "{host}", 8000), "the base")


@pytest.fixture
def folder(tmp_path: Path) -> ServingFolder:
    return new_serving_folder(tmp_path, "1")


def _serve(folder: ServingFolder) -> None:
    serve_order(folder, folder.path.parent, lambda _model: "the base")


def test_an_order_is_read_as_it_was_written_and_does_not_show_its_key(folder: ServingFolder) -> None:
    folder.write_order(ORDERED)
    assert folder.read_order() == ORDERED
    assert "a-key" not in repr(ORDERED)
    assert "a-key" not in (folder.path / "order.json").read_text()


def test_an_order_whose_run_has_ended_is_left_alone(folder: ServingFolder) -> None:
    folder.write_order(ORDERED)
    folder.end()
    _serve(folder)
    assert folder.where() is None
    folder.remove()
    _serve(folder)
    assert not folder.path.exists()


def test_an_order_of_another_version_or_a_damaged_one_is_refused_and_the_run_is_told(
    folder: ServingFolder,
) -> None:
    folder.write_order(ORDERED)
    write_sealed(folder.path / "order.json", {"order": {"base": "/models/base"}, "fingerprint": "the base"})
    with pytest.raises(EngineError, match="cannot read what is ordered there"):
        _serve(folder)
    assert "cannot read what is ordered there" in str(folder.failure())
    assert folder.is_left()


def test_another_model_under_the_same_path_is_not_served(folder: ServingFolder) -> None:
    folder.write_order(replace(ORDERED, fingerprint="another"))
    with pytest.raises(EngineError, match="/models/base is another model on this machine"):
        _serve(folder)


def test_the_folder_of_a_run_that_was_killed_makes_room_for_the_next(
    folder: ServingFolder, tmp_path: Path
) -> None:
    folder.write_order(ORDERED)
    following = new_serving_folder(tmp_path, "2")
    assert folder.has_ended()
    assert not (folder.path / "key").exists()
    assert not following.has_ended()
