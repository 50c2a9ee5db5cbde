// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-lower-dispatches --canonicalize --cse | FileCheck %s

#data = affine_map<(m, nb, n, k) -> (m, k)>
#weights = affine_map<(m, nb, n, k) -> (nb, k, n)>
#out = affine_map<(m, nb, n, k) -> (m, nb, n)>

// Four tiles of two rows read the same two panels of weights, 2 x 2 vectors in a step of two of k. So each of them
// fetches one of these vectors of the panels after these: number 0 to 3, by the tile's place in the loop over rows.
// CHECK-DAG: #[[NEXT:.*]] = affine_map<(d0) -> (4, d0 + 2)>
// CHECK-DAG: #[[PANEL:.*]] = affine_map<(d0, d1) -> (d0 + (d1 ceildiv 2) mod 2)>
// CHECK-DAG: #[[STEP:.*]] = affine_map<(d0, d1) -> (d0 + ((d1 ceildiv 2) mod 4) floordiv 2)>
// CHECK-LABEL: func.func @rows_share
// CHECK: %[[LOADED:.*]] = iree_tensor_ext.dispatch.tensor.load {{.*}} -> tensor<6x16x8xf32>
// CHECK: %[[BUFFER:.*]] = bufferization.to_buffer %[[LOADED]] read_only {compilation_info = #{{.*}}} : tensor<6x16x8xf32> to memref<6x16x8xf32, strided<[128, 8, 1], offset: ?>>
// CHECK: scf.for %[[NB:.*]] = %c0 to %c6 step %c2
// CHECK: scf.for %[[M:.*]] = %c0 to %c8 step %c2
// CHECK: %[[AHEAD:.*]] = affine.min #[[NEXT]](%[[NB]])
// CHECK: scf.for %[[K:.*]] = %c0 to %c16 step %c2
// CHECK-COUNT-8: vector.fma
// CHECK: %[[AT:.*]] = affine.apply #[[PANEL]](%[[AHEAD]], %[[M]])
// CHECK: %[[KA:.*]] = affine.apply #[[STEP]](%[[K]], %[[M]])
// CHECK: memref.prefetch %[[BUFFER]][%[[AT]], %[[KA]], %c0], read, locality<2>, data
// CHECK-NOT: memref.prefetch
// CHECK: scf.yield
func.func @rows_share(%x: tensor<8x16xf32>, %w: tensor<6x16x8xf32>, %start: tensor<8x6x8xf32>) -> tensor<8x6x8xf32> {
  %y = flow.dispatch.region -> (tensor<8x6x8xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : tensor<8x16xf32>, tensor<6x16x8xf32>) outs(%start : tensor<8x6x8xf32>)
      attrs = {dlas.loops = ["m", "nb", "n", "k"],
               dlas.schedule = {kind = "cpu", tile = {m = 2, nb = 2, n = 8, k = 2}, order = ["nb", "m", "n", "k"], vector = "n", lanes = 8, prefetch = true}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<8x6x8xf32>
    flow.return %1 : tensor<8x6x8xf32>
  }
  return %y : tensor<8x6x8xf32>
}

// -----

#data = affine_map<(m, nb, n, k) -> (m, k)>
#weights = affine_map<(m, nb, n, k) -> (nb, k, n)>
#out = affine_map<(m, nb, n, k) -> (m, nb, n)>

// With panels inside of rows, the next tile reads others.
// CHECK-LABEL: func.func @nobody_shares
// CHECK-NOT: memref.prefetch
func.func @nobody_shares(%x: tensor<8x16xf32>, %w: tensor<6x16x8xf32>, %start: tensor<8x6x8xf32>) -> tensor<8x6x8xf32> {
  %y = flow.dispatch.region -> (tensor<8x6x8xf32>) {
    // expected-remark@+1 {{`dlas.schedule`: prefetch: no tiles one after the other read the same vectors, so there is nothing to fetch ahead}}
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : tensor<8x16xf32>, tensor<6x16x8xf32>) outs(%start : tensor<8x6x8xf32>)
      attrs = {dlas.loops = ["m", "nb", "n", "k"],
               dlas.schedule = {kind = "cpu", tile = {m = 2, nb = 2, n = 8}, order = ["m", "nb", "n", "k"], vector = "n", lanes = 8, prefetch = true}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<8x6x8xf32>
    flow.return %1 : tensor<8x6x8xf32>
  }
  return %y : tensor<8x6x8xf32>
}

// -----

#data = affine_map<(p, m, nb, n, k) -> (p, m, k)>
#weights = affine_map<(p, m, nb, n, k) -> (p, nb, k, n)>
#out = affine_map<(p, m, nb, n, k) -> (p, m, nb, n)>

// Behind the last panel of a matrix comes the first one of the next.
// CHECK-DAG: #[[PANEL:.*]] = affine_map<(d0) -> (d0 - ((d0 + 1) floordiv 2) * 2 + 1, 1)>
// CHECK-DAG: #[[MATRIX:.*]] = affine_map<(d0, d1) -> (d0 + (d1 + 1) floordiv 2, 2)>
// CHECK-LABEL: func.func @matrices
// CHECK: scf.for %[[P:.*]] = %c0 to %c3 step %c1
// CHECK: scf.for %[[NB:.*]] = %c0 to %c2 step %c1
// CHECK: scf.for %[[M:.*]] = %c0 to %c4 step %c2
// CHECK-DAG: affine.min #[[PANEL]](%[[NB]])
// CHECK-DAG: affine.min #[[MATRIX]](%[[P]], %[[NB]])
// CHECK: memref.prefetch
func.func @matrices(%x: tensor<3x4x16xf32>, %w: tensor<3x2x16x8xf32>, %start: tensor<3x4x2x8xf32>) -> tensor<3x4x2x8xf32> {
  %y = flow.dispatch.region -> (tensor<3x4x2x8xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : tensor<3x4x16xf32>, tensor<3x2x16x8xf32>) outs(%start : tensor<3x4x2x8xf32>)
      attrs = {dlas.loops = ["p", "m", "nb", "n", "k"],
               dlas.schedule = {kind = "cpu", tile = {m = 2, n = 8}, order = ["p", "nb", "m", "n", "k"], vector = "n", lanes = 8, prefetch = true}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<3x4x2x8xf32>
    flow.return %1 : tensor<3x4x2x8xf32>
  }
  return %y : tensor<3x4x2x8xf32>
}
