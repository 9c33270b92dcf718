"""What the worker in lm-eval's environment is asked to do, and the files by which it answers.

    OUTPUT/request.json
    OUTPUT/KEY.json          the results of one task, renamed into place when whole (`results.py`)
    OUTPUT/KEY.failed.json   why there are none: {"task": …, "kind": …, "message": …}

A key is the id of the benchmark, so a file that a killed run left is as good as a new one.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from figa_core.files import write_whole

VLLM, TRANSFORMERS = "vllm", "transformers"


@dataclass(frozen=True, slots=True)
class Request:
    """One model and the tasks that it is asked.

    Attributes:
        model: a whole Hugging Face model.
        tasks: name in lm-eval → key.
        engine: VLLM or TRANSFORMERS.
        dtype: in which the model is loaded, by torch's name.
        include_path: a folder with further tasks; paths in them are relative to it.
        limit: the first so many questions of each task; None for all.
        num_fewshot: examples before a question; None for each task's own number.
        chat_template: whether questions are put into the model's chat template.
        template_variables: what the template gets besides the messages.
        think_end: the mark after which the answer begins, of a model that thinks first.
        seed: of few-shot examples and of everything random; None for lm-eval's own.
        batch_size: of transformers; vLLM takes what fits.
        gpu_memory_share, tensor_parallel: of vLLM.
    """

    model: Path
    output: Path
    tasks: Mapping[str, str]
    engine: str = VLLM
    dtype: str = "auto"
    include_path: Path | None = None
    limit: int | None = None
    num_fewshot: int | None = None
    chat_template: bool = False
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    think_end: str | None = None
    seed: int | None = None
    batch_size: int = 16
    gpu_memory_share: float = 0.9
    tensor_parallel: int = 1

    @property
    def path(self) -> Path:
        return self.output / "request.json"

    def result(self, key: str) -> Path:
        """The results of one task."""
        return self.output / f"{key}.json"

    def failure(self, key: str) -> Path:
        return self.output / f"{key}.failed.json"

    def write(self) -> Path:
        """Write it for the worker; returns the file. Raises OSError."""
        self.output.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, json.dumps(asdict(self), default=str, indent=2).encode())
        return self.path

    @classmethod
    def read(cls, path: Path) -> "Request":
        """Read what `write` wrote."""
        fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for name in ("model", "output", "include_path"):
            fields[name] = fields[name] and Path(fields[name])
        return cls(**fields)
