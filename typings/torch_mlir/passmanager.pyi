# The bindings ship no type information: everything in this module is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
