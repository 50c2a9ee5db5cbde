"""Columns of numbers on their way into a page: typed arrays as base64, and all of it compressed."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import numpy as np

_NAMES = {"uint8": "Uint8Array", "uint16": "Uint16Array", "uint32": "Uint32Array", "float32": "Float32Array"}


def column(values: np.ndarray) -> dict[str, str]:
    """An array of uint8, uint16, uint32 or float32 as what the page's `column` reads."""
    little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"))
    return {"type": _NAMES[values.dtype.name], "data": base64.b64encode(little.tobytes()).decode()}


def codes(values: np.ndarray) -> dict[str, str]:
    """Whole numbers from 0 in as few bytes as they need."""
    most = int(values.max()) if len(values) else 0
    kind = np.uint8 if most < 1 << 8 else np.uint16 if most < 1 << 16 else np.uint32
    return column(values.astype(kind))


def packed(value: Any) -> str:
    """A value of JSON, compressed, as base64: nothing in it can end a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return base64.b64encode(gzip.compress(text, 6, mtime=0)).decode()
