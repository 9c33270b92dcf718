"""The memory of the devices of this machine."""

import psutil
import pytest

from figa_core.inference.choice import CPU
from figa_core.inference.devices import transformers_device
from figa_core.training.device_memory import Devices, devices_here, gpus_in, gpus_of


@pytest.mark.skipif(transformers_device() != CPU, reason="there is a GPU")
def test_without_a_gpu_it_is_the_machines_memory() -> None:
    found = devices_here()
    assert found.kind == "cpu"
    assert 0 < found.free <= found.total <= psutil.virtual_memory().total
    assert found.of_rank(4) == found.total // 4


def test_gpus_are_read_from_the_lines_of_nvidia_smi() -> None:
    assert gpus_in("81559, 81000\n40960, 100\n") == Devices("gpu", 2, 40960 * 2**20, 100 * 2**20)
    assert gpus_in("81559, 81000").of_rank(8) == 81559 * 2**20


@pytest.mark.parametrize("report", ["", "[N/A], [N/A]", "no devices were found", "81559"])
def test_another_report_is_not_taken_for_memory(report: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        gpus_in(report)


def test_gpus_of_a_given_size_are_empty() -> None:
    assert gpus_of(24, 2) == Devices("gpu", 2, 24 * 10**9, 24 * 10**9)
