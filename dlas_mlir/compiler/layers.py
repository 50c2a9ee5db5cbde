"""What a node of an exported program is called in reports and messages: its layer, its operation, its line."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import fx

_TORCH = str(Path(torch.__file__).resolve().parent)


def layer_name(node: fx.Node) -> str:
    """The path of the module that a node comes from, and the operation where that is no leaf layer."""
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return node.name
    path, kind = list(stack.values())[-1]
    kind_name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    if kind_name.startswith("torch.nn.modules.") and path:
        return path
    operation = re.sub(r"_\d+$", "", node.name).rstrip("_")
    return f"{path}.{operation}" if path else operation


def describe(node: fx.Node) -> str:
    """`operation aten.relu.default of block.relu (net.py:12)`."""
    return f"operation {node.target} of {layer_name(node)}{source_line(node)}"


def source_line(node: fx.Node | None) -> str:
    """` (FILE:LINE)` of the model's own code, PyTorch's where there is none; nothing where neither is known."""
    frames = re.findall(r'File "([^"]+)", line (\d+)', (node.meta.get("stack_trace") or "") if node else "")
    written = [frame for frame in frames if not frame[0].startswith("<")]  # not code that PyTorch generated
    own = [frame for frame in written if not frame[0].startswith(_TORCH)] or written
    return f" ({own[-1][0]}:{own[-1][1]})" if own else ""
