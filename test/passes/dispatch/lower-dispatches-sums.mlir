// RUN: %dlas_opt %s --dlas-form-dispatches --dlas-lower-dispatches --canonicalize --cse | FileCheck %s

#x = affine_map<(d0, d1) -> (d0, d1)>
#s = affine_map<(d0, d1) -> (d1)>

// 600 rows: eight blocks of fifteen blocks of five, each a sum of its own, and then the initial value.
// CHECK-LABEL: func.func @long
// CHECK: %[[ZEROS:.*]] = arith.constant dense<0.000000e+00> : vector<4xf32>
// CHECK: %[[TOTAL:.*]] = scf.for %[[I:.*]] = %c0 to %c600 step %c75 iter_args(%[[SUM:.*]] = %[[ZEROS]])
// CHECK: %[[BLOCK:.*]] = scf.for %[[J:.*]] = %c0 to %c75 step %c5 iter_args({{.*}} = %[[ZEROS]])
// CHECK: scf.for %[[K:.*]] = %c0 to %c5 step %c1 iter_args({{.*}} = %[[ZEROS]])
// CHECK: affine.apply #{{.*}}(%[[K]], %[[I]], %[[J]])
// CHECK: vector.transfer_read
// CHECK: arith.addf
// CHECK: %[[ADDED:.*]] = arith.addf %[[SUM]], %[[BLOCK]]
// CHECK: scf.yield %[[ADDED]]
// CHECK: arith.addf %{{.*}}, %[[TOTAL]]
func.func @long(%x: tensor<600x4xf32>, %start: tensor<4xf32>) -> tensor<4xf32> {
  %y = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d1", "d0"], vector = "d1", lanes = 4}} ins(%x : tensor<600x4xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = arith.addf %in, %out : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// 521 is prime: two blocks of 256, each of 16 times 16, and nine rows more.
// CHECK-LABEL: func.func @prime
// CHECK: scf.for {{.*}} to %c512 step %c256
// CHECK: scf.for {{.*}} to %c256 step %c16
// CHECK: scf.for {{.*}} to %c16 step %c1
// CHECK: scf.for {{.*}} to %c9 step %c1
func.func @prime(%x: tensor<521x4xf32>, %start: tensor<4xf32>) -> tensor<4xf32> {
  %y = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d1", "d0"], vector = "d1", lanes = 4}} ins(%x : tensor<521x4xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = arith.addf %in, %out : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// A maximum loses no digits, however long; 49 additions are one chain.
// CHECK-LABEL: func.func @not_long
// CHECK: scf.for {{.*}} to %c600 step %c1
// CHECK-NOT: scf.for
// CHECK: flow.dispatch.workgroups
// CHECK: scf.for {{.*}} to %c49 step %c1
// CHECK-NOT: scf.for
func.func @not_long(%x: tensor<600x4xf32>, %z: tensor<49x4xf32>, %start: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %y = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d1", "d0"], vector = "d1", lanes = 4}} ins(%x : tensor<600x4xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = arith.maximumf %in, %out : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  %w = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d1", "d0"], vector = "d1", lanes = 4}} ins(%z : tensor<49x4xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = arith.addf %in, %out : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %y, %w : tensor<4xf32>, tensor<4xf32>
}

// 16-bit numbers are computed with in float32, and what has been rounded to bfloat16 is extended bit by bit.
// CHECK-LABEL: func.func @narrow
// CHECK: %[[READ:.*]] = vector.transfer_read {{.*}} vector<4xbf16>
// CHECK: %[[WIDE:.*]] = arith.extf %[[READ]] : vector<4xbf16> to vector<4xf32>
// CHECK: %[[SQUARE:.*]] = arith.mulf %[[WIDE]], %[[WIDE]] : vector<4xf32>
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[SQUARE]] : vector<4xf32> to vector<4xbf16>
// CHECK: %[[BITS:.*]] = arith.bitcast %[[ROUNDED]] : vector<4xbf16> to vector<4xi16>
// CHECK: %[[LOW:.*]] = arith.extui %[[BITS]] : vector<4xi16> to vector<4xi32>
// CHECK: %[[HIGH:.*]] = arith.shli %[[LOW]]
// CHECK: %[[BACK:.*]] = arith.bitcast %[[HIGH]] : vector<4xi32> to vector<4xf32>
// CHECK: math.exp %[[BACK]] : vector<4xf32>
func.func @narrow(%x: tensor<4xbf16>) -> tensor<4xbf16> {
  %e = tensor.empty() : tensor<4xbf16>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"], dlas.schedule = {kind = "cpu", tile = {d0 = 4}, order = ["d0"], vector = "d0", lanes = 4}} ins(%x : tensor<4xbf16>) outs(%e : tensor<4xbf16>) {
  ^bb0(%in: bf16, %out: bf16):
    %a = arith.mulf %in, %in : bf16
    %b = math.exp %a : bf16
    linalg.yield %b : bf16
  } -> tensor<4xbf16>
  return %y : tensor<4xbf16>
}
