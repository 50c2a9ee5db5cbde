// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse | FileCheck %s

#data = affine_map<(oh, ow, k, r, s) -> (oh + r, ow + s)>
#weights = affine_map<(oh, ow, k, r, s) -> (r, s, k)>
#out = affine_map<(oh, ow, k, r, s) -> (oh, ow, k)>

// A row of four pixels at a time. The loop over rows of the window begins at 1 in the first row and ends at 2 in the
// last; of its columns, the first is not there for the first pixel, and the last not for the last.
// CHECK-DAG: #[[FIRST:.*]] = affine_map<(d0) -> (-d0 + 1, 0)>
// CHECK-DAG: #[[LAST:.*]] = affine_map<(d0) -> (-d0 + 5, 3)>
// CHECK-LABEL: func.func @rows_and_columns
// CHECK: scf.for %[[OH:.*]] = %c0 to %c4 step %c1
// CHECK-DAG: %[[LOW:.*]] = affine.max #[[FIRST]](%[[OH]])
// CHECK-DAG: %[[HIGH:.*]] = affine.min #[[LAST]](%[[OH]])
// CHECK: scf.for %[[R:.*]] = %[[LOW]] to %[[HIGH]] step %c1
// CHECK-COUNT-10: vector.fma
// CHECK-NOT: vector.fma
// CHECK: scf.yield
func.func @rows_and_columns(%x: tensor<6x6xf32>, %w: tensor<3x3x8xf32>, %start: tensor<4x4x8xf32>) -> tensor<4x4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x4x8xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%x, %w : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>)
      attrs = {dlas.zeros = {in0 = {low = [1, 1], high = [1, 1]}},
               dlas.schedule = {kind = "cpu", tile = {d1 = 4, d2 = 8}, order = ["d0", "d1", "d2", "d3", "d4"], vector = "d2", lanes = 8}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<4x4x8xf32>
    flow.return %1 : tensor<4x4x8xf32>
  }
  return %y : tensor<4x4x8xf32>
}

// Five rows by two: the first two, in which the first row of the window is for the second pixel only, the next two, and
// the last one, alone and without the last row of the window.
// CHECK-LABEL: func.func @peeled
// CHECK: vector.fma
// CHECK: scf.for {{.*}} = %c1 to %c3 step %c1
// CHECK-COUNT-2: vector.fma
// CHECK: scf.for {{.*}} = %c0 to %c3 step %c1
// CHECK-COUNT-2: vector.fma
// CHECK: scf.for {{.*}} = %c0 to %c2 step %c1
// CHECK: vector.fma
// CHECK-NOT: vector.fma
// CHECK: return
func.func @peeled(%x: tensor<7xf32>, %w: tensor<3x8xf32>, %start: tensor<5x8xf32>) -> tensor<5x8xf32> {
  %y = flow.dispatch.region -> (tensor<5x8xf32>) {
    %1 = linalg.generic {indexing_maps = [affine_map<(oh, k, r) -> (oh + r)>, affine_map<(oh, k, r) -> (r, k)>, affine_map<(oh, k, r) -> (oh, k)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<7xf32>, tensor<3x8xf32>) outs(%start : tensor<5x8xf32>)
      attrs = {dlas.loops = ["oh", "k", "r"], dlas.zeros = {in0 = {low = [1], high = [1]}},
               dlas.schedule = {kind = "cpu", tile = {oh = 2, k = 8}, order = ["oh", "k", "r"], vector = "k", lanes = 8, peel = ["oh"]}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<5x8xf32>
    flow.return %1 : tensor<5x8xf32>
  }
  return %y : tensor<5x8xf32>
}
