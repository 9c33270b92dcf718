"""Tasks for lm-eval from the sandbox's world, in lm-eval's own format, with their data beside them.

    python -m figa_core.sandbox.benchmark --folder DIR

Their questions are requests of customers. `sandbox_choices` is a group of two tasks in which one of two
replies is right and the other one has a fault; `sandbox_replies` lets the model write the reply, which the
verifier judges. The questions are drawn with a seed of their own, so they are not the prompts of a run.
"""

import argparse
import json
import random
from pathlib import Path

from figa_core.sandbox.vocabulary import WRITER_STYLE, Slot
from figa_core.sandbox.world import SLOT_FAULTS, Facts, plan_reply, sample_facts, with_faults, write_request

GROUP, WRITTEN = "sandbox_choices", "sandbox_replies"
CHOICES = {
    "sandbox_choices_order": (Slot.ITEM, Slot.COLOUR, Slot.STATUS),
    "sandbox_choices_person": (Slot.NAME, Slot.CITY),
}
"""The tasks of the group, each with the slots in which its wrong replies are wrong."""

_COMMON = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {task}.jsonl
test_split: test
doc_to_text: "{{{{question}}}}"
"""
_CHOICE = """\
output_type: multiple_choice
doc_to_choice: "{{choices}}"
doc_to_target: right
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""
_WRITTEN = """\
output_type: generate_until
doc_to_target: ""
process_results: !function judge.process_results
generation_kwargs:
  until: ["\\n"]
  max_gen_toks: 96
metric_list:
  - metric: verifier
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""
_GROUP = f"""\
group: {GROUP}
task: [{", ".join(CHOICES)}]
aggregate_metric_list:
  - metric: acc
    weight_by_size: true
metadata:
  version: 1.0
"""
_JUDGE = '''\
"""The verifier of the sandbox, as lm-eval calls it."""

from figa_core.records import Message
from figa_core.sandbox.verifier import verify


def process_results(doc, results):
    return {"verifier": verify([Message("user", doc["question"])], results[0])}
'''


def write_tasks(folder: Path, questions: int = 100, seed: int = 7) -> None:
    """Write the tasks into a folder, which `evaluation.harness.include_path` may name."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for task, slots in CHOICES.items():
        _write(folder, task, _CHOICE, [_choice(rng, slots) for _ in range(questions)])
    _write(folder, WRITTEN, _WRITTEN, [{"question": _request(rng)[1]} for _ in range(questions)])
    (folder / f"{GROUP}.yaml").write_text(_GROUP, encoding="utf-8")
    (folder / "judge.py").write_text(_JUDGE, encoding="utf-8")


def _write(folder: Path, task: str, kind: str, rows: list[dict[str, object]]) -> None:
    (folder / f"{task}.yaml").write_text(_COMMON.format(task=task) + kind, encoding="utf-8")
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (folder / f"{task}.jsonl").write_text(lines, encoding="utf-8")


def _choice(rng: random.Random, slots: tuple[Slot, ...]) -> dict[str, object]:
    facts, question = _request(rng)
    plan = plan_reply(WRITER_STYLE, rng)
    fault = SLOT_FAULTS[rng.choice(slots)]
    replies = [with_faults(facts, plan, faults, rng).text for faults in ((), (fault,))]
    right = rng.randrange(2)
    return {"question": question, "choices": replies if right == 0 else replies[::-1], "right": right}


def _request(rng: random.Random) -> tuple[Facts, str]:
    facts = sample_facts(rng)
    return facts, write_request(facts, rng)[-1].content


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="figa_core.sandbox.benchmark")
    parser.add_argument("--folder", type=Path, required=True)
    write_tasks(parser.parse_args().folder)
