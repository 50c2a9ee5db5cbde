// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/tile = {c = 2 : i64}/tile = {s = 2 : i64}/' %s > %t.tile.mlir
// RUN: not %dlas_opt %t.tile.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: sed 's/vector = "ow"/vector = "k"/' %s > %t.vector.mlir
// RUN: not %dlas_opt %t.vector.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=VECTOR
// RUN: sed 's/tile = {c = 2 : i64}/across = {c = 2 : i64}/' %s > %t.shared.mlir
// RUN: %dlas_opt %t.shared.mlir --dlas-lower-dispatches --canonicalize --cse --mlir-print-local-scope | FileCheck %s --check-prefix=SHARED
// RUN: sed 's/tile = {c = 2 : i64}/across = {r = 2 : i64}/' %s > %t.across.mlir
// RUN: not %dlas_opt %t.across.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=ACROSS

// ACROSS: error: `dlas.schedule`: across: `r`; the non-zeros that are shared out are those of `c`
// TILE: error: `dlas.schedule`: tile: 2 of `s`; non-zeros that are loaded together are those of `c`
// VECTOR: error: `dlas.schedule`: vector: `k` is no loop over pixels, `n`, `oh`, `ow`

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {

// One pixel and one channel for each of twelve threads. Two non-zeros at a time wait for memory together, what is left
// over goes one by one; places have 32 bits, as not every device reads 16.
// CHECK-LABEL: func.func @threads
// CHECK-DAG: %[[STARTS:.*]] = arith.constant dense<[0, 3, 4]> : tensor<3xi32>
// CHECK-DAG: arith.constant dense<[0, 5, 12, 1]> : tensor<4xi32>
// CHECK: flow.dispatch.workgroups
// CHECK: %[[FLAT:.*]] = tensor.collapse_shape {{.*}} into tensor<24xf32>
// CHECK: gpu.thread_id x {{.*}} workgroup_size = [32, 1, 1]
// CHECK: scf.for {{.*}} step %c2
// CHECK-COUNT-2: vector.transfer_read %[[FLAT]]{{.*}} vector<1xf32>
// CHECK-COUNT-2: vector.fma
// CHECK: scf.for {{.*}} step %c1
// CHECK-COUNT-1: vector.fma
// CHECK: iree_tensor_ext.dispatch.tensor.store {{.*}} sizes = [1, 1, 1, 1]

// Every other non-zero for each of two threads, sixteen apart, which add up what they have in shared memory.
// SHARED-LABEL: func.func @threads
// SHARED: %[[THREAD:.*]] = gpu.thread_id x {{.*}} workgroup_size = [32, 1, 1]
// SHARED: %[[FIRST:.*]] = affine.apply affine_map<(d0)[s0] -> (d0 + s0 floordiv 16)>(%{{.*}})[%[[THREAD]]]
// SHARED: %[[OWN:.*]] = scf.for %{{.*}} = %[[FIRST]] to %{{.*}} step %c2
// SHARED: bufferization.alloc_tensor() {{.*}}workgroup{{.*}}tensor<32x1xf32>
// SHARED: vector.transfer_write %[[OWN]]
// SHARED: iree_gpu.value_barrier
// SHARED-COUNT-2: vector.transfer_read {{.*}} tensor<32x1xf32>
// SHARED: iree_tensor_ext.dispatch.tensor.store {{.*}} sizes = [1, 1, 1, 1]
func.func @threads(%x: tensor<1x2x3x4xf32>) -> tensor<1x2x2x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, 0.0]]], [[[0.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]> : tensor<2x2x2x2xf32>
  %y = flow.dispatch.region -> (tensor<1x2x2x3xf32>) {
    %e = tensor.empty() : tensor<1x2x2x3xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x2x3xf32>) -> tensor<1x2x2x3xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : tensor<1x2x3x4xf32>, tensor<2x2x2x2xf32>) outs(%start : tensor<1x2x2x3xf32>)
      attrs = {dlas.loops = ["n", "k", "oh", "ow", "c", "r", "s"], dlas.sparse = {block = 1 : i64, nonzeros = 4 : i64}, dlas.schedule = {kind = "simt", lanes = 1 : i64, order = ["k", "oh", "ow", "c", "r", "s"], threads = 32 : i64, tile = {c = 2 : i64}, vector = "ow"}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %a = arith.addf %o, %m : f32
      linalg.yield %a : f32
    } -> tensor<1x2x2x3xf32>
    flow.return %1 : tensor<1x2x2x3xf32>
  }
  return %y : tensor<1x2x2x3xf32>
}
}
