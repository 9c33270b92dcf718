"""What flows and deployments call by the same name on the Prefect server."""

DATASET_BUILT = "figa.dataset.built"
"""The event after a dataset; its resource is `figa.dataset.ID`."""

TRAIN_MODEL = "train-model/train-model"
"""Flow and deployment of a training."""

GPU_POOL = "gpu"
"""The work pool of what needs a GPU to itself."""
