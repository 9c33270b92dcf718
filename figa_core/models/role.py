"""What a model is used for: it decides which class the model must be, and which setting names it."""

from enum import StrEnum


class ModelRole(StrEnum):
    """The model to align, or the one that rates answers."""

    POLICY = "policy"
    REWARD = "reward"

    @property
    def setting(self) -> str:
        """The setting that names the model."""
        return "generation.model" if self is ModelRole.POLICY else "reward.model"

    @property
    def kind(self) -> str:
        """The kind of model, for messages."""
        return "causal language model" if self is ModelRole.POLICY else "sequence classifier"
