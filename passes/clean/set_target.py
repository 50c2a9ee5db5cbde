"""dlas-set-target: write the target's figures on the module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from iree.compiler import ir

from dlas_mlir.codegen import target as targets
from dlas_mlir.opt.base import Pass, PassError, option


@dataclass(frozen=True)
class SetTargetPass(Pass):
    """Write what is known of the machine on the module, where the later passes look it up.

    A preset puts this pass first, with the figures of its target. An older attribute is replaced. `figures` are those
    of a target's file, each `key=value`; one of the table `cost` is `cost.key=value`, a list `key=a+b`. All others are
    those of pipelines/figures.toml.

    Before:
    ```mlir
    module {
      ...
    }
    ```
    After `dlas-set-target{target=mine figures=vector_bits=256,vector_registers=16}`:
    ```mlir
    module attributes {dlas.target = {bf16_dot = "", ..., cost = {column_start = 5.000000e-01 : f64, ...}, ...,
                                      kind = "cpu", l1d_bytes = 32768 : i64, ..., name = "mine", threads = 1 : i64,
                                      vector_bits = 256 : i64, vector_registers = 16 : i64}} {
      ...
    }
    ```
    """

    name: ClassVar[str] = "dlas-set-target"

    target: str = option("generic", "name of the target")
    kind: str = option("cpu", "what it is", choices=targets.kinds())
    figures: tuple[str, ...] = option(
        (), "its figures, `key=value`, where they are not those of pipelines/figures.toml"
    )

    threads: int = option(1, "workers of a CPU that schedules give equal work", minimum=1)

    @staticmethod
    def for_target(target: targets.AnyTarget) -> SetTargetPass:
        """The pass that writes `target`."""
        threads = target.threads if target.kind == "cpu" else 1
        return SetTargetPass(target.name, target.kind, targets.as_text(target), threads)

    def run(self, module: ir.Module) -> None:
        # A GPU's are none of ours to give work: told so, it says so.
        threads = {} if self.kind == "gpu" and self.threads == 1 else {"threads": self.threads}
        try:
            target = targets.from_text(self.figures, self.kind, name=self.target, **threads)
        except targets.FigureError as error:
            raise PassError(str(error)) from None
        module.operation.attributes[targets.ATTRIBUTE] = target.to_attr()

    def reads(self) -> tuple[str, ...]:
        return (str(targets.figures_file()),)
