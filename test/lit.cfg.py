"""The lit suite: pass tests in passes/<family>/, dlas-opt's own in cli/. Run it with `make lit`."""

# lit provides the names config and lit_config.
# ruff: noqa: F821
# pyright: reportUndefinedVariable=false

import importlib.util
import shutil
import sys
from pathlib import Path

import lit.formats

from dlas_mlir.compiler.presets import host

config.name = "dlas_mlir"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = str(Path(__file__).parent)
config.test_exec_root = str(Path(__file__).parents[1] / "build" / "lit")

tools = Path(sys.executable).parent
config.substitutions += [
    (r"%dlas_opt", str(tools / "dlas-opt")),
    (r"%dlas\b", str(tools / "dlas")),
    (r"\bFileCheck\b", str(tools / "filecheck")),
    (r"%python", sys.executable),
]
# A hermetic environment: this checkout, nobody's own presets and schedules, and no colours.
checkout = str(Path(__file__).parents[1])
config.environment.update(
    {
        "PYTHONPATH": checkout,
        "XDG_CONFIG_HOME": "/nonexistent",
        "DLAS_PRESETS": "",
        "DLAS_DB": "/nonexistent/schedules.db",
        "NO_COLOR": "1",
    }
)

# What a test may ask for with REQUIRES, found out here: instructions of this CPU (avx2, avx512f, ...), programs.
config.available_features |= host.cpu_features()
config.available_features |= {tool for tool in ("qemu-aarch64",) if shutil.which(tool)}

# lit can only end a test that hangs with the help of psutil.
if importlib.util.find_spec("psutil"):
    config.maxIndividualTestTime = 120
else:
    lit_config.note("psutil is not installed: tests have no time limit")
