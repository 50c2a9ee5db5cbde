// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/threads = 32/threads = 0/' %s > %t.threads.mlir
// RUN: not %dlas_opt %t.threads.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: sed 's/lanes = 4/lanes = 8/' %s > %t.lanes.mlir
// RUN: not %dlas_opt %t.lanes.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=LANES
// RUN: sed 's/ow = 2/ow = 9/' %s > %t.tile.mlir
// RUN: not %dlas_opt %t.tile.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: sed 's/vector = "k"/vector = "q"/' %s > %t.vector.mlir
// RUN: not %dlas_opt %t.vector.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=VECTOR
// RUN: sed 's/, "r", "s"\], threads/, "r"], threads/' %s > %t.order.mlir
// RUN: not %dlas_opt %t.order.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=ORDER
// RUN: sed 's/tile = {ow = 2/tile = {oh = 5 : i64, ow = 7 : i64, k = 12/' %s > %t.registers.mlir
// RUN: not %dlas_opt %t.registers.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=REGISTERS

// THREADS: error: `dlas.schedule`: threads: expected at least 1, found 0
// LANES: error: `dlas.schedule`: lanes: 8 of `k`; a power of two up to 4, by which all is aligned
// TILE: error: `dlas.schedule`: tile: 9 iterations of `ow`; it has 7
// VECTOR: error: `dlas.schedule`: vector: there is no loop `q`; there are `oh`, `ow`, `k`, `r`, `s`
// ORDER: error: `dlas.schedule`: order has `oh`, `ow`, `k`, `r`; it must have each of `oh`, `ow`, `k`, `r`, `s` once
// REGISTERS: error: `dlas.schedule`: tile: 420 results in a thread's registers; gpu has 64 for 32 threads

#image = affine_map<(oh, ow, k, r, s) -> (oh + r, ow + s, k)>
#weights = affine_map<(oh, ow, k, r, s) -> (r, s, k)>
#out = affine_map<(oh, ow, k, r, s) -> (oh, ow, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {

// A depthwise convolution: 5 x 4 x 3 threads have 1 x 2 x 4 results, in two workgroups of 32; those that are left over do
// the last part again. The last tile of seven columns is moved back. Padding is read at the border, and zero is taken.
// CHECK-LABEL: func.func @depthwise
// CHECK: flow.dispatch.workgroups
// CHECK: gpu.thread_id x {compilation_info = #iree_codegen.compilation_info<lowering_config = #iree_gpu.lowering_config<{}>, translation_info = <pipeline = #iree_gpu.pipeline<BaseLowering> workgroup_size = [32, 1, 1]>>}
// CHECK: affine.min affine_map<()[s0, s1] -> (59, s0 * 32 + s1)>
// CHECK: affine.min affine_map<{{.*}} -> ({{.*}}, 5)>
// CHECK: tensor.empty() : tensor<1x2x4xf32>
// CHECK: scf.for
// CHECK: arith.cmpi ult
// CHECK: affine.max
// CHECK: vector.transfer_read {{.*}} vector<4xf32>
// CHECK: arith.select {{.*}} vector<4xf32>
// CHECK: vector.fma
// CHECK: arith.maximumf
// CHECK-COUNT-2: vector.transfer_write
// CHECK: iree_tensor_ext.dispatch.tensor.store {{.*}} sizes = [1, 2, 4]
// CHECK: count()
// CHECK: flow.return %c2, %c1, %c1
func.func @depthwise(%x: tensor<5x7x12xf32>, %w: tensor<3x3x12xf32>) -> tensor<5x7x12xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<5x7x12xf32>) {
    %padded = tensor.pad %x low[1, 1, 0] high[1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index):
      tensor.yield %zero : f32
    } : tensor<5x7x12xf32> to tensor<7x9x12xf32>
    %e = tensor.empty() : tensor<5x7x12xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<5x7x12xf32>) -> tensor<5x7x12xf32>
    %1 = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%padded, %w : tensor<7x9x12xf32>, tensor<3x3x12xf32>) outs(%start : tensor<5x7x12xf32>)
      attrs = {dlas.loops = ["oh", "ow", "k", "r", "s"], dlas.schedule = {kind = "simt", lanes = 4 : i64, order = ["oh", "ow", "k", "r", "s"], threads = 32 : i64, tile = {ow = 2 : i64, s = 3 : i64}, vector = "k"}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %a = arith.addf %o, %m : f32
      linalg.yield %a : f32
    } -> tensor<5x7x12xf32>
    %id = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b, c)>, affine_map<(a, b, c) -> (a, b, c)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%1 : tensor<5x7x12xf32>) outs(%e : tensor<5x7x12xf32>) {
    ^bb0(%p: f32, %o: f32):
      %m = arith.maximumf %p, %zero : f32
      linalg.yield %m : f32
    } -> tensor<5x7x12xf32>
    flow.return %id : tensor<5x7x12xf32>
  }
  return %y : tensor<5x7x12xf32>
}
}
