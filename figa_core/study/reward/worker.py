"""The process that trains one reward model on preference pairs, by the loss of Bradley and Terry (1952).

    python -m figa_core.study.reward.worker JOB.json

−log σ(r(chosen) − r(rejected)), as in Ouyang et al. 2022 (arXiv 2203.02155), by transformers' Trainer: a
decoder gets a head with one row, and all of its weights learn. The texts are rendered and cut as the stage
score does it, and the reward is read where the engines read it: at the last token.

Shape legend: B pairs, T tokens, D dimensions; 2B texts, the chosen ones first.
"""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_utils import set_seed
from transformers.utils import logging

from figa_core.chat.format import load_chat_format
from figa_core.errors import FigaError
from figa_core.models.tokenizer import load_tokenizer
from figa_core.processes.children import die_with_parent
from figa_core.study.reward.degrade import Degradation, degraded
from figa_core.study.reward.pairs import PreferencePair, read_table
from figa_core.study.reward.train import PAIRS_PER_STEP, HeadJob
from figa_core.training.learning_rate import proposed_rate

_WARMUP_SHARE = 0.1

_TEMPLATE_FILE = "chat_template.jinja"

_Encoded = tuple[list[int], list[int]]


class PairTrainer(Trainer):
    """Trainer with the loss of a batch of pairs."""

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,  # noqa: ARG002
    ) -> Any:
        rewards_2B = rewards_of(model, inputs["ids_BT"], inputs["mask_BT"])
        chosen_B, rejected_B = rewards_2B.chunk(2)
        loss = -nn.functional.logsigmoid(chosen_B - rejected_B).mean()
        return (loss, {"rewards": rewards_2B}) if return_outputs else loss


def rewards_of(model: Any, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """The reward of each text, read at its last token, shape [B]."""
    hidden_BTD = model.base_model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state
    last_B = mask_BT.sum(dim=1) - 1
    return model.score(hidden_BTD[torch.arange(len(ids_BT), device=ids_BT.device), last_B]).squeeze(-1)


def collated(batch: list[_Encoded]) -> dict[str, Tensor]:
    """Padded on the right with id 0, which the mask hides."""
    texts = [torch.tensor(ids) for side in zip(*batch, strict=True) for ids in side]
    masks = [torch.ones(len(ids), dtype=torch.long) for ids in texts]
    return {
        "ids_BT": pad_sequence(texts, batch_first=True),
        "mask_BT": pad_sequence(masks, batch_first=True),
    }


def encoded(start: Path, pairs: list[PreferencePair], max_length: int) -> list[_Encoded]:
    """Token ids of chosen and rejected; a pair that the template refuses is left out."""
    chat = load_chat_format(start)
    texts = [(pair.messages, text) for pair in pairs for text in (pair.chosen, pair.rejected)]
    ids = chat.conversation_ids_or_reasons(texts)
    both = zip(ids[::2], ids[1::2], strict=True)
    return [
        (list(one[-max_length:]), list(other[-max_length:]))
        for one, other in both
        if not isinstance(one, str) and not isinstance(other, str)
    ]


def train(job: HeadJob) -> dict[str, float]:
    """Train and save the model; returns its figures."""
    pairs = degraded(read_table(job.pairs), Degradation(job.key, job.key, job.share, job.noise))
    rows = encoded(job.start, pairs, job.max_length)
    if not rows:
        raise FigaError(f"{job.start}: its chat template refuses every one of the {len(pairs):,} pairs")
    set_seed(job.seed)
    tokenizer = load_tokenizer(job.start)
    model = AutoModelForSequenceClassification.from_pretrained(
        job.start, num_labels=1, dtype=torch.float32, local_files_only=True, trust_remote_code=False,
        use_safetensors=True,
    )  # fmt: skip
    if not isinstance(getattr(model, "score", None), nn.Module):
        raise FigaError(f"{job.start}: a {type(model).__name__} has no head named score; give a decoder")
    model.config.pad_token_id = (
        tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    )
    parameters = model.num_parameters()
    rate = job.learning_rate or proposed_rate(parameters)
    trainer = PairTrainer(model, _arguments(job, rate), collated, train_dataset=rows)  # pyright: ignore
    found = trainer.train()
    target = job.output / "model"
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    _copy_template(job.start, target)
    return {
        "pairs": float(len(rows)),
        "steps": float(found.global_step),
        "loss": float(found.training_loss),
        "parameters": float(parameters),
        "learning_rate": rate,
    }


def _arguments(job: HeadJob, rate: float) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(job.output / "scratch"),
        max_steps=job.steps,
        per_device_train_batch_size=PAIRS_PER_STEP,
        learning_rate=rate,
        lr_scheduler_type="linear",
        warmup_steps=round(_WARMUP_SHARE * job.steps),
        weight_decay=0.0,
        save_strategy="no",
        logging_strategy="steps",
        logging_steps=max(1, job.steps // 10),
        report_to=[],
        remove_unused_columns=False,
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=job.seed,
    )


def _copy_template(start: Path, target: Path) -> None:
    """A template that is a file of its own, which some versions do not save with the tokenizer."""
    if (start / _TEMPLATE_FILE).is_file():
        shutil.copyfile(start / _TEMPLATE_FILE, target / _TEMPLATE_FILE)


def main() -> None:
    die_with_parent()
    logging.disable_progress_bar()
    job = HeadJob.read(Path(sys.argv[1]))
    try:
        figures = train(job)
    except FigaError as error:
        sys.exit(str(error))
    (job.output / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main()
