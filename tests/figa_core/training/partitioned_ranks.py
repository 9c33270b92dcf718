"""Run by torchrun (`test_partitioned.py`): what each rank holds of models that are loaded in parts.

Usage: partitioned_ranks.py DIRECTORY, which has the jobs. Writes DIRECTORY/NAME.RANK.json for each, and the
model itself as an export.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.module import register_module_parameter_registration_hook

from figa_core.errors import TrainingError
from figa_core.processes.children import die_with_parent
from figa_core.training.engine import ZeroEngine
from figa_core.training.export import export_model
from figa_core.training.job import TrainingJob
from figa_core.training.model import load_model
from figa_core.training.optimizers import Groups

FILE_BYTES = 10_000


def sgd(groups: Groups, learning_rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=learning_rate)


def examine(job: TrainingJob) -> dict[str, Any]:
    most = begun = anonymous_bytes()

    def look(*_: object) -> None:
        nonlocal most
        most = max(most, anonymous_bytes())

    hook = register_module_parameter_registration_hook(look)  # called before a weight is partitioned
    try:
        engine = ZeroEngine(job, make_optimizer=sgd)
    except TrainingError as error:
        return {"error": str(error)}
    finally:
        hook.remove()
    whole = load_model(job.model)
    parts = {name: parameter.ds_tensor.numel() for name, parameter in engine.model.named_parameters()}
    sizes = {name: parameter.numel() for name, parameter in whole.named_parameters()}
    found = {name: engine.weight(name) for name in parts}
    equal = [torch.equal(found[name], weight) for name, weight in whole.named_parameters()]
    buffers = dict(engine.model.named_buffers())
    job.output.mkdir(exist_ok=True)
    export_model(engine.model, engine.weight, job, writes=engine.rank == 0, file_bytes=FILE_BYTES)
    return {
        "packs": engine.packs,
        "shares": engine.shares,
        "same names": parts.keys() == sizes.keys(),
        "share": sum(parts.values()) / sum(sizes.values()),
        "equal": engine.rank != 0 or all(equal),
        "same buffers": all(torch.equal(buffers[name], each) for name, each in whole.named_buffers()),
        "dtypes": sorted({str(parameter.dtype) for parameter in engine.model.parameters()}),
        "anonymous": most - begun,
    }


def anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


if __name__ == "__main__":
    die_with_parent()
    for path in sorted(Path(sys.argv[1]).glob("*.job")):
        examined = examine(TrainingJob.from_json(path.read_text()))
        path.with_suffix(f".{os.environ['RANK']}.json").write_text(json.dumps(examined))
