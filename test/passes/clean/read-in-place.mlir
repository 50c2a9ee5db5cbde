// RUN: %dlas_opt %s --pass-pipeline='dlas-set-target{target=t figures=vector_bits=512},dlas-read-in-place,canonicalize' | FileCheck %s
// RUN: %dlas_opt %s --pass-pipeline='dlas-set-target{kind=gpu target=g},dlas-read-in-place,canonicalize' | FileCheck %s --check-prefix=GPU
// RUN: not %dlas_opt %s --dlas-read-in-place=all=1 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-read-in-place` has no option `all`; it has none

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>

// CHECK-DAG: #[[ID:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[HALF:.*]] = affine_map<(d0, d1) -> (d0, d1 floordiv 2)>
// CHECK-DAG: #[[NEXT:.*]] = affine_map<(d0, d1) -> (d0, (d1 + 1) floordiv 2)>

// By numbers of loops, and what alone reads it in the same operation.
// CHECK-LABEL: func.func @by_loops
// CHECK: linalg.generic {indexing_maps = [#[[HALF]], #[[ID]], #[[ID]]]
// CHECK-SAME: ins(%arg0, %arg1 : tensor<4x4xf32>, tensor<4x8xf32>)
// CHECK-NOT: tensor.extract
// CHECK: arith.addf
// CHECK-NOT: linalg.generic
// GPU-LABEL: func.func @by_loops
// GPU: tensor.extract
func.func @by_loops(%x: tensor<4x4xf32>, %y: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %two = arith.constant 2 : i64
  %e = tensor.empty() : tensor<4x8xf32>
  %1 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<4x8xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %n = arith.index_cast %j : index to i64
    %q = arith.divsi %n, %two : i64
    %k = arith.index_cast %q : i64 to index
    %in = tensor.extract %x[%i, %k] : tensor<4x4xf32>
    linalg.yield %in : f32
  } -> tensor<4x8xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%1, %y : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  return %2 : tensor<4x8xf32>
}

// By a table; negative numbers are from the end, and there are none.
// CHECK-LABEL: func.func @by_table
// CHECK: linalg.generic {indexing_maps = [#[[NEXT]], #[[ID]]]
// CHECK-SAME: ins(%arg0 : tensor<4x5xf32>)
func.func @by_table(%x: tensor<4x5xf32>) -> tensor<4x8xf32> {
  %table = arith.constant dense<[0, 1, 1, 2, 2, 3, 3, 4]> : tensor<8xi64>
  %zero = arith.constant 0 : i64
  %size = arith.constant 5 : i64
  %e = tensor.empty() : tensor<4x8xf32>
  %1 = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%table : tensor<8xi64>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%t: i64, %o: f32):
    %i = linalg.index 0 : index
    %negative = arith.cmpi slt, %t, %zero : i64
    %from_end = arith.addi %t, %size : i64
    %n = arith.select %negative, %from_end, %t : i64
    %k = arith.index_cast %n : i64 to index
    %in = tensor.extract %x[%i, %k] : tensor<4x5xf32>
    linalg.yield %in : f32
  } -> tensor<4x8xf32>
  return %1 : tensor<4x8xf32>
}

// What two read stays apart from both.
// CHECK-LABEL: func.func @two_readers
// CHECK-COUNT-2: linalg.generic
func.func @two_readers(%x: tensor<4x4xf32>) -> (tensor<4x8xf32>, tensor<4x8xf32>) {
  %two = arith.constant 2 : index
  %e = tensor.empty() : tensor<4x8xf32>
  %1 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<4x8xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %k = arith.divsi %j, %two : index
    %in = tensor.extract %x[%i, %k] : tensor<4x4xf32>
    linalg.yield %in : f32
  } -> tensor<4x8xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%1 : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.negf %a : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  return %1, %2 : tensor<4x8xf32>, tensor<4x8xf32>
}

// A table that is no quotient, one that leads beyond the end, places that depend on values or on two loops stay.
// CHECK-LABEL: func.func @elsewhere
// CHECK-COUNT-4: tensor.extract
func.func @elsewhere(%x: tensor<4x5xf32>, %given: tensor<8xi64>) -> (tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x2xf32>) {
  %turned = arith.constant dense<[0, 1, 0, 1, 0, 1, 0, 1]> : tensor<8xi64>
  %beyond = arith.constant dense<[0, 1, 1, 2, 3, 4, 5, 5]> : tensor<8xi64>
  %e = tensor.empty() : tensor<4x8xf32>
  %f = tensor.empty() : tensor<4x2xf32>
  %1 = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%turned : tensor<8xi64>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%t: i64, %o: f32):
    %i = linalg.index 0 : index
    %k = arith.index_cast %t : i64 to index
    %in = tensor.extract %x[%i, %k] : tensor<4x5xf32>
    linalg.yield %in : f32
  } -> tensor<4x8xf32>
  %2 = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%beyond : tensor<8xi64>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%t: i64, %o: f32):
    %i = linalg.index 0 : index
    %k = arith.index_cast %t : i64 to index
    %in = tensor.extract %x[%i, %k] : tensor<4x5xf32>
    linalg.yield %in : f32
  } -> tensor<4x8xf32>
  %3 = linalg.generic {indexing_maps = [#row, #id], iterator_types = ["parallel", "parallel"]} ins(%given : tensor<8xi64>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%t: i64, %o: f32):
    %i = linalg.index 0 : index
    %k = arith.index_cast %t : i64 to index
    %in = tensor.extract %x[%i, %k] : tensor<4x5xf32>
    linalg.yield %in : f32
  } -> tensor<4x8xf32>
  %4 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%f : tensor<4x2xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %k = arith.addi %i, %j : index
    %in = tensor.extract %x[%i, %k] : tensor<4x5xf32>
    linalg.yield %in : f32
  } -> tensor<4x2xf32>
  return %1, %2, %3, %4 : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x2xf32>
}

// A diagonal, of the part of the tensor that it runs through; and nothing of what has no elements.
// CHECK-LABEL: func.func @diagonal
// CHECK: %[[PART:.*]] = tensor.extract_slice %arg0[0, 1] [4, 4] [1, 1] : tensor<4x6xf32> to tensor<4x4xf32>
// CHECK: linalg.generic {indexing_maps = [#[[D:.*]], #{{.*}}], {{.*}} ins(%[[PART]] : tensor<4x4xf32>)
// CHECK: tensor.extract
func.func @diagonal(%x: tensor<4x6xf32>) -> (tensor<4xf32>, tensor<0xf32>) {
  %e = tensor.empty() : tensor<4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%e : tensor<4xf32>) {
  ^bb0(%o: f32):
    %one = arith.constant 1 : index
    %i = linalg.index 0 : index
    %j = arith.addi %i, %one : index
    %v = tensor.extract %x[%i, %j] : tensor<4x6xf32>
    linalg.yield %v : f32
  } -> tensor<4xf32>
  %n = tensor.empty() : tensor<0xf32>
  %z = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%n : tensor<0xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %v = tensor.extract %x[%i, %i] : tensor<4x6xf32>
    linalg.yield %v : f32
  } -> tensor<0xf32>
  return %y, %z : tensor<4xf32>, tensor<0xf32>
}
