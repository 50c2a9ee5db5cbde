// RUN: %dlas_opt %s --dlas-lower-dispatches --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/stages = 3/stages = 1/' %s > %t.stages.mlir
// RUN: not %dlas_opt %t.stages.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=STAGES
// RUN: sed 's/stages = 3/stages = 9/' %s > %t.shared.mlir
// RUN: not %dlas_opt %t.shared.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=SHARED
// RUN: sed 's/, kind = "gpu", split/, kind = "cpu", split/' %s > %t.kind.mlir
// RUN: not %dlas_opt %t.kind.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: sed 's/tile = {columns = 32 : i64, rows = 64 : i64}, warp = {columns = 16 : i64, rows = 32 : i64}/tile = {columns = 64 : i64, rows = 128 : i64}, warp = {columns = 64 : i64, rows = 64 : i64}/; s/stages = 3/stages = 2/' %s > %t.registers.mlir
// RUN: not %dlas_opt %t.registers.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=REGISTERS

// STAGES: error: `dlas.schedule`: stages: at least 2, found 1
// SHARED: error: `dlas.schedule`: stages: {{[0-9]+}} bytes of shared memory; gpu has 65536 in a workgroup
// KIND: error: `dlas.schedule`: kind: this workload takes `gpu` or `simt` on a gpu target, not `cpu`
// REGISTERS: error: `dlas.schedule`: warp: 128 registers for a thread's sums; gpu has 64 for 64

#image = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh + r, ow + s, c)>
#weights = affine_map<(n, oh, ow, k, r, s, c) -> (k, r, s, c)>
#out = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh, ow, k)>
#id = affine_map<(n, oh, ow, k) -> (n, oh, ow, k)>
#bias = affine_map<(n, oh, ow, k) -> (k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k16.f16.f32"], shared_bytes = 65536 : i64}} {

// One executable for a kernel: a workgroup for each tile of 64 pixels and 32 channels, four warps of 32 x 16.
// CHECK: hal.executable.source private @[[NAME:product_196x64x576_f16_[0-9a-f]+]]
// CHECK: hal.executable.export public @[[NAME]] ordinal(0) layout({{.*}}ReadOnly>, {{.*}}ReadOnly>, {{.*}}ReadOnly>, #hal.pipeline.binding<storage_buffer>]>)
// CHECK-DAG: %[[ACROSS:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[DOWN:.*]] = arith.constant 4 : index
// CHECK: hal.return %[[ACROSS]], %[[DOWN]]
// CHECK: workgroup_size = [128 : index, 1 : index, 1 : index], subgroup_size = 32
// CHECK: func.func @[[NAME]]() attributes {translation_info = #iree_codegen.translation_info<pipeline = #iree_codegen.no_pipeline workgroup_size = [128, 1, 1] subgroup_size = 32>}
// Two steps are on their way before the loop; in it, a step is waited for, and another one copied behind the barrier.
// CHECK: nvvm.cp.async.shared.global {{.*}}, 16, cache = cg
// CHECK: nvvm.cp.async.commit.group
// CHECK: nvvm.cp.async.commit.group
// CHECK: scf.for
// CHECK-NEXT: nvvm.cp.async.wait.group 1
// CHECK-NEXT: nvvm.barrier
// CHECK: scf.if
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.cp.async.commit.group
// CHECK: nvvm.ldmatrix {{.*}} num = 4
// CHECK: nvvm.mma.sync {{.*}} shape = <m = 16, n = 8, k = 16>
// The sums change hands in shared memory; the last workgroup's tile has fewer pixels.
// CHECK: nvvm.cp.async.wait.group 0
// CHECK-NEXT: nvvm.barrier
// CHECK: llvm.store {{.*}} : vector<2xf32>, !llvm.ptr<3>
// CHECK: nvvm.barrier
// CHECK: scf.if
// CHECK: llvm.load {{.*}} : !llvm.ptr<3> -> vector<4xf32>
// CHECK: llvm.load {{.*}} invariant {{.*}} : !llvm.ptr<1> -> vector<4xf32>
// CHECK: arith.addf
// CHECK: arith.truncf
// CHECK: llvm.store {{.*}} : vector<8xf16>, !llvm.ptr<1>
// CHECK-LABEL: func.func @twice
// CHECK: flow.dispatch @[[NAME]]::@[[NAME]](%arg0, %arg1, %arg2) {{.*}}dlas.workload = "
// CHECK: flow.dispatch @[[NAME]]::@[[NAME]](
func.func @twice(%x: tensor<1x14x14x64xf16>, %w: tensor<64x3x3x64xf16>, %b: tensor<64xf32>) -> tensor<1x14x14x64xf16> {
  %zero = arith.constant 0.0 : f16
  %start = arith.constant 0.0 : f32
  %1 = flow.dispatch.region -> (tensor<1x14x14x64xf16>) {
    %padded = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f16
    } : tensor<1x14x14x64xf16> to tensor<1x16x16x64xf16>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = false, instruction = "m16n8k16.f16.f32", kind = "gpu", split = 1 : i64, stages = 3 : i64, tile = {columns = 32 : i64, rows = 64 : i64}, warp = {columns = 16 : i64, rows = 32 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf16>, tensor<64x3x3x64xf16>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pw = arith.extf %p : f16 to f32
      %qw = arith.extf %q : f16 to f32
      %m = arith.mulf %pw, %qw : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    %h = tensor.empty() : tensor<1x14x14x64xf16>
    %out = linalg.generic {indexing_maps = [#id, #bias, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%sum, %b : tensor<1x14x14x64xf32>, tensor<64xf32>) outs(%h : tensor<1x14x14x64xf16>) {
    ^bb0(%p: f32, %q: f32, %o: f16):
      %s = arith.addf %p, %q : f32
      %t = arith.truncf %s : f32 to f16
      linalg.yield %t : f16
    } -> tensor<1x14x14x64xf16>
    flow.return %out : tensor<1x14x14x64xf16>
  }
  %2 = flow.dispatch.region -> (tensor<1x14x14x64xf16>) {
    %padded = tensor.pad %1 low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f16
    } : tensor<1x14x14x64xf16> to tensor<1x16x16x64xf16>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = false, instruction = "m16n8k16.f16.f32", kind = "gpu", split = 1 : i64, stages = 3 : i64, tile = {columns = 32 : i64, rows = 64 : i64}, warp = {columns = 16 : i64, rows = 32 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf16>, tensor<64x3x3x64xf16>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pw = arith.extf %p : f16 to f32
      %qw = arith.extf %q : f16 to f32
      %m = arith.mulf %pw, %qw : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    %h = tensor.empty() : tensor<1x14x14x64xf16>
    %out = linalg.generic {indexing_maps = [#id, #bias, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%sum, %b : tensor<1x14x14x64xf32>, tensor<64xf32>) outs(%h : tensor<1x14x14x64xf16>) {
    ^bb0(%p: f32, %q: f32, %o: f16):
      %s = arith.addf %p, %q : f32
      %t = arith.truncf %s : f32 to f16
      linalg.yield %t : f16
    } -> tensor<1x14x14x64xf16>
    flow.return %out : tensor<1x14x14x64xf16>
  }
  return %2 : tensor<1x14x14x64xf16>
}
}
