# What is used of the native module behind iree.compiler.dialects.linalg.

from iree.compiler import ir

def get_indexing_maps(op: ir.Operation) -> ir.ArrayAttr | None: ...
