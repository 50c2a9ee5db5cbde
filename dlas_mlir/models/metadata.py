"""What a checkpoint says of itself; read without PyTorch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dlas_mlir.errors import DlasError

# The one key of a checkpoint's metadata; its value is JSON.
METADATA_KEY = "dlas"


def read_metadata(path: Path) -> dict[str, Any]:
    """What a safetensors file says of itself under the key `dlas`: nothing for other files.

    Raises DlasError when it says something that is no JSON object; a file that cannot be read raises nothing here.
    """
    if path.suffix != ".safetensors":
        return {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(METADATA_KEY)
    except (OSError, SafetensorError):
        return {}  # whoever reads the tensors says it better
    if text is None:
        return {}
    try:
        metadata = json.loads(text)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise DlasError(f"{path}: its metadata `{METADATA_KEY}` is not a JSON object; write the checkpoint again")
    return metadata
