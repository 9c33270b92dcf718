"""Counts the first rows of a file of prompts: how many can be used, and why the others cannot."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from figa_core.prompts.read import BadRow, reason_kind
from figa_core.records import Prompt, Split


@dataclass(frozen=True, slots=True)
class PromptSurvey:
    """Counts of the rows that were read; `whole`: these are all rows of the file.

    The prompts are distinct, and in the file's order. `reasons` counts unusable rows by the kind of their
    reason, and `examples` holds the first row of each kind.
    """

    rows: int
    whole: bool
    train_prompts: tuple[Prompt, ...]
    held_out_prompts: tuple[Prompt, ...]
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, BadRow] = field(default_factory=dict)

    @property
    def all_prompts(self) -> tuple[Prompt, ...]:
        """Those for training and those for evaluation."""
        return (*self.train_prompts, *self.held_out_prompts)

    @property
    def usable(self) -> int:
        """The number of prompts, for training or evaluation."""
        return len(self.train_prompts) + len(self.held_out_prompts)

    @property
    def unusable(self) -> int:
        """The number of rows that are not prompts; repeated prompts do not count."""
        return self.reasons.total()

    @property
    def with_reference(self) -> int:
        """The number of training prompts with a reference."""
        return sum(prompt.reference is not None for prompt in self.train_prompts)

    def reasons_text(self) -> str:
        """The three most frequent reasons with their counts, each with its first row."""
        parts = []
        for kind, count in self.reasons.most_common(3):
            first = self.examples[kind]
            parts.append(f"{count:,}: {first.reason} (row {first.row})")
        left = len(self.reasons) - len(parts)
        return "; ".join(parts) + (f"; and {left} other reasons" if left > 0 else "")


def survey(rows: Iterable[tuple[int, Prompt | BadRow]], rows_max: int) -> PromptSurvey:
    """Count the first `rows_max` rows; another row in `rows` means that these were not all.

    Raises:
        InputError: as `rows` does.
    """
    prompts: dict[str, Prompt] = {}
    reasons: Counter[str] = Counter()
    examples: dict[str, BadRow] = {}
    remaining, count = iter(rows), 0
    for _, row in islice(remaining, rows_max):
        count += 1
        if isinstance(row, BadRow):
            kind = reason_kind(row.reason)
            reasons[kind] += 1
            examples.setdefault(kind, row)
        else:
            prompts.setdefault(row.prompt_id, row)
    train, held_out = (
        tuple(prompt for prompt in prompts.values() if prompt.split is split)
        for split in (Split.TRAIN, Split.HELD_OUT)
    )
    return PromptSurvey(count, next(remaining, None) is None, train, held_out, reasons, examples)
