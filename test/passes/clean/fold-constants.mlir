// RUN: %dlas_opt %s --dlas-fold-constants | FileCheck %s
// RUN: %dlas_opt %s --dlas-fold-constants --dlas-fold-constants | FileCheck %s
// RUN: not %dlas_opt %s --dlas-fold-constants=size=4 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-fold-constants` has no option `size`; it has none

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d1)>

// Weights are packed once, with the padding value where a tile does not divide.
// CHECK-LABEL: func.func @pack
// CHECK-NEXT: %[[C:.*]] = arith.constant dense<{{\[}}{{\[}}{{\[}}[1.000000e+00, 4.000000e+00], [2.000000e+00, 5.000000e+00]], {{\[}}[3.000000e+00, 6.000000e+00], [-1.000000e+00, -1.000000e+00]]],
// CHECK-NEXT: return %[[C]]
func.func @pack() -> tensor<2x2x2x2xf32> {
  %zero = arith.constant -1.0 : f32
  %w = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]> : tensor<3x3xf32>
  %empty = tensor.empty() : tensor<2x2x2x2xf32>
  %p = linalg.pack %w padding_value(%zero : f32) inner_dims_pos = [1, 0] inner_tiles = [2, 2] into %empty : tensor<3x3xf32> -> tensor<2x2x2x2xf32>
  return %p : tensor<2x2x2x2xf32>
}

// CHECK-LABEL: func.func @elementwise
// CHECK-NEXT: arith.constant dense<{{\[}}[1.000000e+00, 0.000000e+00, -3.000000e+00], [4.000000e+00, 0.000000e+00, -6.000000e+00]]>
// CHECK-NEXT: return
func.func @elementwise() -> tensor<2x3xf32> {
  %x = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %r = arith.constant dense<[1.0, 0.0, -1.0]> : tensor<3xf32>
  %empty = tensor.empty() : tensor<2x3xf32>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %r : tensor<2x3xf32>, tensor<3xf32>) outs(%empty : tensor<2x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// An assertion that holds goes away with its operation.
// CHECK-LABEL: func.func @asserted
// CHECK-NEXT: arith.constant dense<[1.000000e+00, 2.500000e-01]>
// CHECK-NEXT: return
func.func @asserted() -> tensor<2xf32> {
  %x = arith.constant dense<[1.0, 4.0]> : tensor<2xf32>
  %empty = tensor.empty() : tensor<2xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x : tensor<2xf32>) outs(%empty : tensor<2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %c = arith.cmpf one, %a, %zero : f32
    cf.assert %c, "zero"
    %s = arith.divf %one, %a : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  return %y : tensor<2xf32>
}

// CHECK-LABEL: func.func @shapes
// CHECK-NEXT: %[[TRANSPOSED:.*]] = arith.constant dense<{{\[}}[1.000000e+00, 4.000000e+00], [2.000000e+00, 5.000000e+00], [3.000000e+00, 6.000000e+00]]> : tensor<3x2xf32>
// CHECK-NEXT: %[[PADDED:.*]] = arith.constant dense<{{\[}}[5.000000e-01, 1.000000e+00, 2.000000e+00, 5.000000e-01]]> : tensor<1x4xf32>
// CHECK-NEXT: %[[SLICED:.*]] = arith.constant dense<{{\[}}[4.000000e+00, 6.000000e+00]]> : tensor<1x2xf32>
// CHECK-NEXT: %[[EXPANDED:.*]] = arith.constant {{.*}} : tensor<2x2x1xf32>
// CHECK-NEXT: %[[BROADCAST:.*]] = arith.constant {{.*}} : tensor<1x2x1xf32>
// CHECK-NEXT: return %[[TRANSPOSED]], %[[PADDED]], %[[SLICED]], %[[EXPANDED]], %[[BROADCAST]]
func.func @shapes() -> (tensor<3x2xf32>, tensor<1x4xf32>, tensor<1x2xf32>, tensor<2x2x1xf32>, tensor<1x2x1xf32>) {
  %zero = arith.constant 0.5 : f32
  %x = arith.constant dense<[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]> : tensor<2x3xf32>
  %v = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %e1 = tensor.empty() : tensor<3x2xf32>
  %t = linalg.transpose ins(%x : tensor<2x3xf32>) outs(%e1 : tensor<3x2xf32>) permutation = [1, 0]
  %u = tensor.expand_shape %v [[0, 1]] output_shape [1, 2] : tensor<2xf32> into tensor<1x2xf32>
  %p = tensor.pad %u low[0, 1] high[0, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<1x2xf32> to tensor<1x4xf32>
  %s = tensor.extract_slice %x[1, 0] [1, 2] [1, 2] : tensor<2x3xf32> to tensor<1x2xf32>
  %c = tensor.extract_slice %t[0, 0] [2, 2] [1, 1] : tensor<3x2xf32> to tensor<2x2xf32>
  %d = tensor.expand_shape %c [[0], [1, 2]] output_shape [2, 2, 1] : tensor<2x2xf32> into tensor<2x2x1xf32>
  %e2 = tensor.empty() : tensor<1x2x1xf32>
  %b = linalg.broadcast ins(%v : tensor<2xf32>) outs(%e2 : tensor<1x2x1xf32>) dimensions = [0, 2]
  return %t, %p, %s, %d, %b : tensor<3x2xf32>, tensor<1x4xf32>, tensor<1x2xf32>, tensor<2x2x1xf32>, tensor<1x2x1xf32>
}

// What stays: an argument is no constant, a broadcast to more elements is better done where it is read, an assertion
// that fails is the program's affair, and reductions are not evaluated.
// CHECK-LABEL: func.func @kept
// CHECK: linalg.generic {{.*}} ins(%arg0
// CHECK: linalg.broadcast
// CHECK: cf.assert
// CHECK: iterator_types = ["reduction"]
func.func @kept(%x: tensor<2xf32>) -> (tensor<2xf32>, tensor<2x4xf32>, tensor<2xf32>, tensor<f32>) {
  %v = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %z = arith.constant dense<[1.0, 0.0]> : tensor<2xf32>
  %empty = tensor.empty() : tensor<2xf32>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%x, %v : tensor<2xf32>, tensor<2xf32>) outs(%empty : tensor<2xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  %e2 = tensor.empty() : tensor<2x4xf32>
  %2 = linalg.broadcast ins(%v : tensor<2xf32>) outs(%e2 : tensor<2x4xf32>) dimensions = [1]
  %3 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%z : tensor<2xf32>) outs(%empty : tensor<2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %zero = arith.constant 0.0 : f32
    %one = arith.constant 1.0 : f32
    %c = arith.cmpf one, %a, %zero : f32
    cf.assert %c, "zero"
    linalg.yield %one : f32
  } -> tensor<2xf32>
  %e0 = tensor.empty() : tensor<f32>
  %4 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]} ins(%v : tensor<2xf32>) outs(%e0 : tensor<f32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %o : f32
    linalg.yield %s : f32
  } -> tensor<f32>
  return %1, %2, %3, %4 : tensor<2xf32>, tensor<2x4xf32>, tensor<2xf32>, tensor<f32>
}

// Truth values: one bit, which is -1 as a signed number and 1 as an unsigned one.
// CHECK-LABEL: func.func @truth_values
// CHECK-DAG: %[[BITS:.*]] = arith.constant dense<[false, true]> : tensor<2xi1>
// CHECK-DAG: %[[SIGNED:.*]] = arith.constant dense<[0, -1]> : tensor<2xi32>
// CHECK-DAG: %[[UNSIGNED:.*]] = arith.constant dense<[0, 1]> : tensor<2xi32>
// CHECK-DAG: %[[SELECTED:.*]] = arith.constant dense<[-1.000000e+00, 0.000000e+00]> : tensor<2xf32>
// CHECK: return %[[BITS]], %[[SIGNED]], %[[UNSIGNED]], %[[SELECTED]]
#one = affine_map<(d0) -> (d0)>
func.func @truth_values() -> (tensor<2xi1>, tensor<2xi32>, tensor<2xi32>, tensor<2xf32>) {
  %k = arith.constant dense<[-1.0, 2.0]> : tensor<2xf32>
  %zero = arith.constant 0.0 : f32
  %e1 = tensor.empty() : tensor<2xi1>
  %m = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]} ins(%k : tensor<2xf32>) outs(%e1 : tensor<2xi1>) {
  ^bb0(%v: f32, %o: i1):
    %p = arith.cmpf ogt, %v, %zero : f32
    linalg.yield %p : i1
  } -> tensor<2xi1>
  %e = tensor.empty() : tensor<2xi32>
  %s = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]} ins(%m : tensor<2xi1>) outs(%e : tensor<2xi32>) {
  ^bb0(%v: i1, %o: i32):
    %p = arith.extsi %v : i1 to i32
    linalg.yield %p : i32
  } -> tensor<2xi32>
  %u = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]} ins(%s : tensor<2xi32>) outs(%e : tensor<2xi32>) {
  ^bb0(%v: i32, %o: i32):
    %t = arith.trunci %v : i32 to i1
    %p = arith.extui %t : i1 to i32
    linalg.yield %p : i32
  } -> tensor<2xi32>
  %e2 = tensor.empty() : tensor<2xf32>
  %f = linalg.generic {indexing_maps = [#one, #one, #one], iterator_types = ["parallel"]} ins(%k, %m : tensor<2xf32>, tensor<2xi1>) outs(%e2 : tensor<2xf32>) {
  ^bb0(%v: f32, %c: i1, %o: f32):
    %p = arith.select %c, %zero, %v : f32
    linalg.yield %p : f32
  } -> tensor<2xf32>
  return %m, %s, %u, %f : tensor<2xi1>, tensor<2xi32>, tensor<2xi32>, tensor<2xf32>
}

// -----

// A constant of rank 0 stays one.
// CHECK-LABEL: @rank_0
// CHECK-NOT: linalg.generic
// CHECK-DAG: %[[F:.*]] = arith.constant dense<5.000000e-01> : tensor<f32>
// CHECK-DAG: %[[P:.*]] = arith.constant dense<true> : tensor<i1>
// CHECK: return %[[F]], %[[P]]
func.func @rank_0() -> (tensor<f32>, tensor<i1>) {
  %k = arith.constant dense<-0.5> : tensor<f32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %a = linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []} ins(%k : tensor<f32>) outs(%e : tensor<f32>) {
  ^bb0(%v: f32, %o: f32):
    %p = math.absf %v : f32
    linalg.yield %p : f32
  } -> tensor<f32>
  %b = tensor.empty() : tensor<i1>
  %m = linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []} ins(%a : tensor<f32>) outs(%b : tensor<i1>) {
  ^bb0(%v: f32, %o: i1):
    %p = arith.cmpf ogt, %v, %zero : f32
    linalg.yield %p : i1
  } -> tensor<i1>
  return %a, %m : tensor<f32>, tensor<i1>
}

// The numbers of a line, and quotients and comparisons of them; a larger thing of nothing stays where it is read.
// CHECK-LABEL: func.func @line
// CHECK-DAG: arith.constant dense<[0, 0, -1, -1]> : tensor<4xi64>
// CHECK-DAG: arith.constant dense<[false, false, true, true]> : tensor<4xi1>
// CHECK: linalg.index 0
// CHECK-NOT: linalg.index
func.func @line() -> (tensor<4xi64>, tensor<4xi1>, tensor<2x2xi64>) {
  %two = arith.constant -2 : i64
  %zero = arith.constant 0 : i64
  %e = tensor.empty() : tensor<4xi64>
  %t = tensor.empty() : tensor<4xi1>
  %f = tensor.empty() : tensor<2x2xi64>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%e : tensor<4xi64>) {
  ^bb0(%o: i64):
    %i = linalg.index 0 : index
    %n = arith.index_cast %i : index to i64
    %q = arith.divsi %n, %two : i64
    linalg.yield %q : i64
  } -> tensor<4xi64>
  %2 = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%1 : tensor<4xi64>) outs(%t : tensor<4xi1>) {
  ^bb0(%a: i64, %o: i1):
    %c = arith.cmpi slt, %a, %zero : i64
    linalg.yield %c : i1
  } -> tensor<4xi1>
  %3 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} outs(%f : tensor<2x2xi64>) {
  ^bb0(%o: i64):
    %i = linalg.index 0 : index
    %n = arith.index_cast %i : index to i64
    linalg.yield %n : i64
  } -> tensor<2x2xi64>
  return %1, %2, %3 : tensor<4xi64>, tensor<4xi1>, tensor<2x2xi64>
}
