"""What `figa study reward` may be told; none of it is a setting of a run."""

from pathlib import Path

from figa_core.config.decisions import nothing
from figa_core.config.section import Section


class RewardStudySettings(Section):
    """How the reward models of the study are made.

    Its runs, trainings and seeds follow from the settings of the run: `[compare] seeds` has the seeds.
    """

    pairs: Path | None = nothing(
        None,
        "File of preference pairs (fields prompt, chosen, rejected; JSONL or Parquet) to train the reward "
        'models on; "none" for pairs of the model\'s own answers, labelled by the verifier.',
    )
    start: Path | None = nothing(
        None, 'Hugging Face directory of the decoder that they start from; "none" for the model to align.'
    )
    epochs: float = nothing(
        3.0, "Passes over the pairs; of a tenth of them, ten times as many.", gt=0, le=100
    )
    learning_rate: float | None = nothing(
        None, 'The highest of their training; "none" for one that fits the size of the model.', gt=0
    )
    length_weight: float = nothing(
        1.0,
        "λ of the reward that likes length: standardised reward + λ × standardised number of words.",
        gt=0,
        le=100,
    )
    held_out_share: float = nothing(0.2, "Share of the pairs that measure the accuracy.", gt=0, lt=1)
    prompts_max: int = nothing(4000, "Training prompts whose answers become pairs, at most.", ge=10)
