"""Counts the first rows of a file of prompts: how many can be used for what, and why others cannot."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from figa_core.prompts.read import BadRow, reason_kind
from figa_core.records import Prompt, Split


@dataclass(frozen=True, slots=True)
class PromptSurvey:
    """Counts over the rows that were read; `whole` says whether those are all rows.

    `train`, `held_out` and `with_reference` (of `train`) count distinct prompts. `reasons` counts unusable
    rows by kind, and `examples` holds the first of each. `train_prompts` and `held_out_prompts` are the
    usable ones in the file's order.
    """

    rows: int
    whole: bool
    train_prompts: tuple[Prompt, ...]
    held_out_prompts: tuple[Prompt, ...]
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, BadRow] = field(default_factory=dict)

    @property
    def usable(self) -> int:
        """Distinct prompts that can be used, for training or for evaluation."""
        return len(self.train_prompts) + len(self.held_out_prompts)

    @property
    def unusable(self) -> int:
        """Rows that cannot be read as prompts; repeated prompts are not an error and do not count."""
        return self.reasons.total()

    @property
    def with_reference(self) -> int:
        """Training prompts that have a reference."""
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
    """Count the first `rows_max` rows; `rows` may yield one more, which says that those were not all.

    Raises:
        InputError: as `rows` does.
    """
    prompts: dict[str, Prompt] = {}
    reasons: Counter[str] = Counter()
    examples: dict[str, BadRow] = {}
    count = 0
    for _, row in rows:
        if count == rows_max:
            count += 1
            break
        count += 1
        if isinstance(row, BadRow):
            kind = reason_kind(row.reason)
            reasons[kind] += 1
            examples.setdefault(kind, row)
        else:
            prompts.setdefault(row.prompt_id, row)
    splits = {
        split: tuple(prompt for prompt in prompts.values() if prompt.split is split)
        for split in (Split.TRAIN, Split.HELD_OUT)
    }
    whole = count <= rows_max
    return PromptSurvey(
        min(count, rows_max), whole, splits[Split.TRAIN], splits[Split.HELD_OUT], reasons, examples
    )
