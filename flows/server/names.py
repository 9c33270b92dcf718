"""Names on the Prefect server, shared by flows and deployments. Imports nothing of Prefect."""

import socket

FLOWS = (
    "figa",
    "build-dataset",
    "retry-revisions",
    "train-model",
    "train-rank",
    "train-by-rewards",
    "generate-shard",
    "score-shard",
    "serve-model",
    "evaluate-model",
    "judge-models",
    "compare-methods",
    "study-reward",
)
"""Each has a deployment of the same name."""

HEARTBEAT_S = 30
"""Seconds between two heartbeats of a run. Prefect allows no less; its default is 180."""

NO_SIGN_OF_LIFE = "No sign of life"
"""How the message of a run begins that was marked as Crashed because its heartbeats stopped."""

DATASET_BUILT = "figa.dataset.built"
"""The event when a dataset is complete; its resource is `figa.dataset.ID`."""

ALARM = "figa.alarm"
"""The event when a model seems to be damaged; its resource is `figa.training.ID` or `figa.run.ID`."""

TRAIN_MODEL = "train-model/train-model"
"""Flow and deployment of a training."""

TRAIN_RANK = "train-rank/train-rank"
"""Flow and deployment of a further node of a training."""

TRAIN_BY_REWARDS = "train-by-rewards/train-by-rewards"
"""Flow and deployment of a training by reinforcement learning."""

SHARD_DEPLOYMENTS = {"generate": "generate-shard/generate-shard", "score": "score-shard/score-shard"}
"""Flow and deployment of the workers of a stage, by the engine's task."""

SERVE_MODEL = "serve-model/serve-model"
"""Flow and deployment of the servers of another run."""

CPU_POOL = "cpu"
"""The work pool for everything else."""

GPU_POOL = "gpu"
"""The work pool for runs that need a GPU to themselves."""

CHECK_WORKER = "check-worker"
"""Flow of `figa doctor`; it has a deployment for each pool, named like the pool."""

VERSION_VARIABLE = "figa_version"
"""The Prefect variable with the version of this package that made the deployments."""

CODE_VARIABLE = "figa_code"
"""The Prefect variable with the hash of the code that made the deployments."""

API_URL_VARIABLE = "PREFECT_API_URL"
"""The environment variable that holds the address of the API."""

REPORTS_ROUTE = "/reports"
"""The path of reports on our own server."""


def worker_name(pool: str) -> str:
    """The name of this machine's worker on a pool."""
    return f"figa-{pool}-{socket.gethostname()}"
