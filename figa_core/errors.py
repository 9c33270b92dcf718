"""The exception tree. Every message says what was wrong, where, and what to do.

    FigaError
    ├── ConfigError
    ├── InputError ─── NothingToDoError, AnotherJobError
    ├── WorkspaceError ─── WorkspaceBusyError, StorageError, ArtifactsError
    ├── EngineError ─── UnknownHeadError
    ├── LLMError ─── RefusedRunError, BudgetReachedError, OpenRevisionsError, RefusedRevisionsError,
    │                UngradedPairsError, UnjudgedAnswersError
    ├── TrainingError ─── DivergedTrainingError
    └── EvaluationError ─── WorseModelError

InterruptedRunError is not one of them: nothing was wrong. It is a KeyboardInterrupt, so that code that
handles errors does not take it for one.
"""

import signal


class FigaError(Exception):
    """Base of every error this project raises on purpose."""


class ConfigError(FigaError):
    """A setting is missing, unknown or out of bounds."""


class InputError(FigaError):
    """A file the user handed in cannot be used."""


class NothingToDoError(InputError):
    """A stage was left without a single row; the message says which setting decided that."""


class AnotherJobError(InputError):
    """A page that people judge on shows another run, scheme or number of pairs than the server has."""


class WorkspaceError(FigaError):
    """The workspace directory cannot be used."""


class WorkspaceBusyError(WorkspaceError):
    """Another run holds the workspace's lease."""


class StorageError(WorkspaceError):
    """The database, the journal or a shard set is damaged, or stays locked."""


class ArtifactsError(WorkspaceError):
    """The store of `[storage] artifacts` cannot be read or written.

    `may_pass`: whether the same call may succeed in a while, as when the store is away or overloaded.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class EngineError(FigaError):
    """An inference engine could not be started, or died."""


class UnknownHeadError(EngineError):
    """A reward model is of a kind that this engine cannot score, and another one may."""


class LLMError(FigaError):
    """An LLM's endpoint refuses the whole run: key, quota, model name, or it cannot be reached."""


class RefusedRunError(LLMError):
    """The endpoint would refuse whatever it is asked: by its key, quota, model name or a setting."""


class BudgetReachedError(LLMError):
    """The next call might cost more than the rest of the budget; nothing beyond it was sent."""


class OpenRevisionsError(LLMError):
    """More rows stayed without an answer than the settings tolerate; asking again may settle them."""


class RefusedRevisionsError(LLMError):
    """More rows were refused for good than the settings tolerate; asking again would settle none of them."""


class UngradedPairsError(LLMError):
    """More pairs have no usable scores than the settings tolerate; asking again would give none."""


class UnjudgedAnswersError(LLMError):
    """A judge gave no usable score for too many answers; asking again would give none."""


class TrainingError(FigaError):
    """Training stopped: a non-finite loss, a dead rank, or shards that do not fit the model."""


class DivergedTrainingError(TrainingError):
    """The loss or the gradients are not finite: with these settings, the same training ends so again."""


class EvaluationError(FigaError):
    """Scores cannot be averaged or compared: not finite, or of different prompts."""


class WorseModelError(EvaluationError):
    """The trained model is worse than its base; everything went well but that, and all results are stored.

    `result` is what the run would have returned.
    """

    def __init__(self, message: str, result: object = None) -> None:
        super().__init__(message)
        self.result = result


class InterruptedRunError(KeyboardInterrupt):
    """A signal asked the run to stop. Finished work is stored, and the same command continues."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by {signal_name(number)}: the same command continues")
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as in shells."""
        return 128 + self.signal


def one_line(error: BaseException) -> str:
    """Its message without line breaks and without a full stop at the end; its type if it has no message."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def signal_name(number: int) -> str:
    """A signal's name, for people."""
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
