// Chains that a hand has written, and what is wrong with them.
// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse | FileCheck %s
// RUN: sed 's/threads = 32 : i64, tile = {c = 2/threads = 64 : i64, tile = {c = 2/' %s > %t.threads.mlir
// RUN: not %dlas_opt %t.threads.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: sed 's/shared = 1/shared = 2/' %s > %t.shared.mlir
// RUN: not %dlas_opt %t.shared.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=SHARED
// RUN: sed 's/tile = {n = 1 : i64}/tile = {n = 4 : i64}/' %s > %t.tile.mlir
// RUN: not %dlas_opt %t.tile.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=TILE
// RUN: sed 's/dlas.chain = {chain = 0 : i64, shared = 1 : i64}/dlas.chain = 7 : i64/' %s > %t.key.mlir
// RUN: not %dlas_opt %t.key.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=KEY
// RUN: sed 's/return %y :/return %mean, %y : tensor<4x1xf32>,/; s/-> tensor<4x64xf32> {$/-> (tensor<4x1xf32>, tensor<4x64xf32>) {/' %s > %t.read.mlir
// RUN: not %dlas_opt %t.read.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=READ

// THREADS: error: `dlas.chain`: workgroups of 32, 64 threads
// SHARED: error: `dlas.chain`: 2 shared dimensions; its kernels have 1 in common
// TILE: error: `dlas.chain`: a tile of `n`, of which a workgroup does one iteration
// KEY: error: `dlas.chain`: expected {chain = NUMBER}, and for threads shared = NUMBER
// READ: error: `dlas.chain`: what a kernel computes before the last one is read elsewhere

#row = affine_map<(n, c) -> (n, c)>
#mean = affine_map<(n, c) -> (n, 0)>

module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {

// 64 elements in vectors of two, of 32 threads one each: one round. The sum is of all threads.
// CHECK-LABEL: func.func @rows
// CHECK: flow.dispatch.workgroups
// CHECK-COUNT-2: iree_gpu.value_barrier
// CHECK-NOT: flow.dispatch.workgroups(
// CHECK: return
func.func @rows(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %zero = arith.constant 0.0 : f32
  %mean = flow.dispatch.region -> (tensor<4x1xf32>) {
    %e = tensor.empty() : tensor<4x1xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<4x1xf32>) -> tensor<4x1xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<4x64xf32>) outs(%start : tensor<4x1xf32>)
      attrs = {dlas.loops = ["n", "c"], dlas.chain = {chain = 0 : i64, shared = 1 : i64}, dlas.schedule = {across = {c = 32 : i64}, kind = "simt", lanes = 1 : i64, order = ["n", "c"], threads = 32 : i64, tile = {n = 1 : i64}, vector = "n"}} {
    ^bb0(%p: f32, %o: f32):
      %a = arith.addf %o, %p : f32
      linalg.yield %a : f32
    } -> tensor<4x1xf32>
    flow.return %1 : tensor<4x1xf32>
  }
  %y = flow.dispatch.region -> (tensor<4x64xf32>) {
    %e = tensor.empty() : tensor<4x64xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %mean : tensor<4x64xf32>, tensor<4x1xf32>) outs(%e : tensor<4x64xf32>)
      attrs = {dlas.loops = ["n", "c"], dlas.chain = {chain = 0 : i64, shared = 1 : i64}, dlas.schedule = {kind = "simt", lanes = 2 : i64, order = ["n", "c"], threads = 32 : i64, tile = {c = 2 : i64}, vector = "c"}} {
    ^bb0(%p: f32, %s: f32, %o: f32):
      %a = arith.subf %p, %s : f32
      linalg.yield %a : f32
    } -> tensor<4x64xf32>
    flow.return %1 : tensor<4x64xf32>
  }
  return %y : tensor<4x64xf32>
}
}
