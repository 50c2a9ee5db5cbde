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
  %y = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {distribution = array<i64: 0, 0>, register_tile = array<i64: 1, 4>, order = array<i64: 1, 0>, vector = 1 : i64, lanes = 4 : i64}} ins(%x : tensor<600x4xf32>) outs(%start : tensor<4xf32>) {
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
  %y = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {distribution = array<i64: 0, 0>, register_tile = array<i64: 1, 4>, order = array<i64: 1, 0>, vector = 1 : i64, lanes = 4 : i64}} ins(%x : tensor<521x4xf32>) outs(%start : tensor<4xf32>) {
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
  %y = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {distribution = array<i64: 0, 0>, register_tile = array<i64: 1, 4>, order = array<i64: 1, 0>, vector = 1 : i64, lanes = 4 : i64}} ins(%x : tensor<600x4xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = arith.maximumf %in, %out : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  %w = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"], dlas.schedule = {distribution = array<i64: 0, 0>, register_tile = array<i64: 1, 4>, order = array<i64: 1, 0>, vector = 1 : i64, lanes = 4 : i64}} ins(%z : tensor<49x4xf32>) outs(%start : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %a = arith.addf %in, %out : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %y, %w : tensor<4xf32>, tensor<4xf32>
}
