"""Names on the Prefect server that flows and deployments share."""

FLOWS = ("figa", "build-dataset", "retry-revisions", "train-model", "evaluate-model")
"""Each has a deployment of the same name."""

HEARTBEAT_S = 30
"""Seconds between two heartbeats of a run. Prefect allows no less; its default is 180."""

DATASET_BUILT = "figa.dataset.built"
"""The event after a dataset; its resource is `figa.dataset.ID`."""

TRAIN_MODEL = "train-model/train-model"
"""Flow and deployment of a training."""

GPU_POOL = "gpu"
"""The work pool of what needs a GPU to itself."""

API_URL_VARIABLE = "PREFECT_API_URL"
"""The environment variable with the address of the API."""

REPORTS_ROUTE = "/reports"
"""Where our own server serves reports."""
