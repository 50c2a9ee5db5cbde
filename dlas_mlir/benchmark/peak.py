"""A kernel that does nothing but fused multiply-adds in registers: its rate is the peak of the machine."""

from __future__ import annotations

from pathlib import Path

from dlas_mlir import process
from dlas_mlir.codegen.target import CpuTarget, Target
from dlas_mlir.compiler import cache, tools
from dlas_mlir.errors import DlasError

# Enough independent chains to hide the latency of an FMA on two ports, in fewer than 16 registers.
_CHAINS = 12
_STEPS = 20_000
# Divides evenly over 1, 2, 3, 4, 6, 8, 12, ... threads.
_WORKGROUPS = 48


def peak_kernel(target: Target, flags: tuple[str, ...]) -> tuple[Path, int]:
    """The .vmfb of the kernel for `target`, and the floating-point operations of one call of its `main`.

    `flags` are iree-compile's. Raises DlasError when the target is no CPU, or it does not compile.
    """
    from dlas_mlir.runtime.devices import cpu_features, cpu_model

    if not isinstance(target, CpuTarget):
        raise DlasError(f"target {target.name} is a {target.kind.upper()}: its peak cannot be measured")
    lanes = target.lanes()
    source = kernel_text(lanes)
    key = cache.digest(source, flags, cpu_model(), cpu_features(), cache.versions("iree-base-compiler"))
    folder = cache.entry("peak", key)
    operations = 2 * lanes * _CHAINS * _STEPS * _WORKGROUPS
    found = cache.read_record(folder / "peak.json")
    if found is not None and _is_whole(folder / found["file"], found["sha256"]):
        return folder / found["file"], operations
    with cache.workspace() as scratch:
        mlir = scratch / "peak.mlir"
        mlir.write_text(source)
        _compile(mlir, scratch / "peak.vmfb", flags)
        vmfb, sha256 = cache.publish(scratch / "peak.vmfb", folder)
    cache.write_record(folder / "peak.json", {"file": vmfb.name, "sha256": sha256})
    return vmfb, operations


def _is_whole(vmfb: Path, sha256: str) -> bool:
    try:
        return cache.file_digest(vmfb) == sha256
    except DlasError:
        return False


def _compile(mlir: Path, vmfb: Path, flags: tuple[str, ...]) -> None:
    outcome = process.run([tools.iree_compile(), str(mlir), *flags, "-o", str(vmfb)])
    if outcome.code:
        raise DlasError(f"the peak kernel does not compile: iree-compile {outcome.how()}: {outcome.stderr[:400]}")


def kernel_text(lanes: int) -> str:
    """MLIR of `main`: every workgroup runs _STEPS of _CHAINS independent FMAs on vectors of `lanes` f32."""
    vector = f"vector<{lanes}xf32>"
    result = f"tensor<{_WORKGROUPS}x{lanes}xf32>"
    row = f"tensor<1x{lanes}xf32>"
    chains = range(_CHAINS)
    carried = ", ".join(f"%c{i} = %s{i}" for i in chains)
    types = ", ".join([vector] * _CHAINS)
    # The starting values differ, or the chains would be one.
    starts = "\n".join(
        f"    %k{i} = arith.constant {i}.5 : f32\n    %s{i} = vector.broadcast %k{i} : f32 to {vector}" for i in chains
    )
    steps = "\n".join(f"      %n{i} = vector.fma %c{i}, %a, %b : {vector}" for i in chains)
    yielded = ", ".join(f"%n{i}" for i in chains)
    total = "\n".join(
        f"    %t{i} = arith.addf {f'%t{i - 1}' if i > 1 else '%r#0'}, %r#{i} : {vector}" for i in chains if i
    )
    load = "iree_tensor_ext.dispatch.tensor.load"
    store = "iree_tensor_ext.dispatch.tensor.store"
    inp = f"!iree_tensor_ext.dispatch.tensor<readonly:tensor<2x{lanes}xf32>>"
    out = f"!iree_tensor_ext.dispatch.tensor<writeonly:{result}>"
    return f"""func.func @main(%x: tensor<2x{lanes}xf32>) -> {result} {{
  %groups = arith.constant {_WORKGROUPS} : index
  %y = flow.dispatch.workgroups[%groups](%x) : (tensor<2x{lanes}xf32>) -> {result} =
  (%in: {inp}, %out: {out}) {{
    %id = flow.dispatch.workgroup.id[0] : index
    %zero = arith.constant 0 : index
    %one = arith.constant 1 : index
    %steps = arith.constant {_STEPS} : index
    %pad = arith.constant 0.0 : f32
    %xs = {load} %in, offsets=[0, 0], sizes=[2, {lanes}], strides=[1, 1] : {inp} -> tensor<2x{lanes}xf32>
    %a = vector.transfer_read %xs[%zero, %zero], %pad {{in_bounds = [true]}} : tensor<2x{lanes}xf32>, {vector}
    %b = vector.transfer_read %xs[%one, %zero], %pad {{in_bounds = [true]}} : tensor<2x{lanes}xf32>, {vector}
{starts}
    %r:{_CHAINS} = scf.for %i = %zero to %steps step %one iter_args({carried}) -> ({types}) {{
{steps}
      scf.yield {yielded} : {types}
    }}
{total}
    %e = tensor.empty() : {row}
    %w = vector.transfer_write %t{_CHAINS - 1}, %e[%zero, %zero] {{in_bounds = [true]}} : {vector}, {row}
    {store} %w, %out, offsets=[%id, 0], sizes=[1, {lanes}], strides=[1, 1] : {row} -> {out}
    flow.return
  }} count(%g: index) -> (index, index, index) {{
    %c1 = arith.constant 1 : index
    flow.return %g, %c1, %c1 : index, index, index
  }}
  return %y : {result}
}}
"""
