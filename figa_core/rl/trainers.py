"""Which of TRL's trainers trains a job. Each needs a release of its own, so it is imported late."""

from figa_core.rl.task import Task


def train(task: Task) -> None:
    """Train until the budget is spent.

    Raises:
        DivergedTrainingError: a step's figures are not finite.
        TrainingError: a step has no rewards, or the model does not fit the method.
    """
    if task.job.method == "ppo":
        from figa_core.rl.ppo import train_ppo

        train_ppo(task)
    else:
        from figa_core.rl.groups import train_groups

        train_groups(task)
