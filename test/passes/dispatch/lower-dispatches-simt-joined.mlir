// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/across = {h = 4 : i64}/across = {c = 4 : i64}/' %s > %t.loop.mlir
// RUN: not %dlas_opt %t.loop.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=LOOP

// LOOP: error: `dlas.schedule`: across: `c` is no reduction

#image = affine_map<(c, h, w) -> (h, w, c)>
#out = affine_map<(c, h, w) -> (c)>

module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {

// Four threads have a quarter of the rows each: two results in a workgroup of eight threads. Each leaves its part in
// shared memory; behind the barrier all four add up what belongs to their result, in one order.
// CHECK-LABEL: func.func @mean
// CHECK: %[[T:.*]] = gpu.thread_id x
// CHECK: affine.apply affine_map<{{.*}} floordiv 2{{.*}}>
// CHECK: scf.for
// CHECK: vector.transfer_read {{.*}} vector<4xf32>
// CHECK: arith.addf
// CHECK: %[[SHARED:.*]] = bufferization.alloc_tensor() <{memory_space = #gpu.address_space<workgroup>}> : tensor<8x4xf32>
// CHECK: %[[WRITTEN:.*]] = vector.transfer_write %{{.*}}, %[[SHARED]][%[[T]], %c0]
// CHECK: %[[ALL:.*]] = iree_gpu.value_barrier %[[WRITTEN]]
// CHECK: vector.transfer_read %[[ALL]]
// CHECK: scf.for {{.*}} = %c1 to %c4 step %c1
// CHECK: vector.transfer_read %[[ALL]]
// CHECK: arith.addf
// CHECK: iree_tensor_ext.dispatch.tensor.store {{.*}} sizes = [4]
func.func @mean(%x: tensor<8x6x8xf32>) -> tensor<8xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<8xf32>) {
    %e = tensor.empty() : tensor<8xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<8xf32>) -> tensor<8xf32>
    %1 = linalg.generic {indexing_maps = [#image, #out], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%x : tensor<8x6x8xf32>) outs(%start : tensor<8xf32>)
      attrs = {dlas.loops = ["c", "h", "w"], dlas.schedule = {across = {h = 4 : i64}, kind = "simt", lanes = 4 : i64, order = ["c", "h", "w"], threads = 8 : i64, tile = {c = 4 : i64}, vector = "c"}} {
    ^bb0(%p: f32, %o: f32):
      %a = arith.addf %o, %p : f32
      linalg.yield %a : f32
    } -> tensor<8xf32>
    flow.return %1 : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}
}
