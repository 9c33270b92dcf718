"""Writes the model in a GGUF file as a Hugging Face directory, in float32; `weights.py` runs it.

python -m figa_core.real.convert FILE OUTPUT
"""

import sys
from pathlib import Path
from typing import Any


def convert(gguf: Path, output: Path) -> None:
    """Raises ValueError if the file lacks weights that the model needs."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    loaded: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, output_loading_info=True)
    model, loading = loaded
    if wrong := sorted(str(name) for kind in ("missing_keys", "mismatched_keys") for name in loading[kind]):
        raise ValueError(f"{gguf.name}: weights are missing or of another shape: {', '.join(wrong)}")
    # transformers takes a dequantized model for a quantized one, and refuses to save it.
    model.hf_quantizer = model.quantization_method = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(output)
    tokenizer.save_pretrained(output)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
