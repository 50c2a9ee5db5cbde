// RUN: %dlas_opt %s --dlas-mark-zeros | FileCheck %s
// RUN: not %dlas_opt %s --dlas-mark-zeros=all=1 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-mark-zeros` has no option `all`; it has none

#data = affine_map<(oh, ow, k, r, s) -> (oh + r, ow + s)>
#weights = affine_map<(oh, ow, k, r, s) -> (r, s, k)>
#out = affine_map<(oh, ow, k, r, s) -> (oh, ow, k)>

// Padding of zeros, and what a slice leaves of it.
// CHECK-LABEL: func.func @padded
// CHECK: linalg.generic {{.*}} attrs = {dlas.zeros = {in0 = {high = [0, 2], low = [1, 0]}}}
// CHECK: linalg.generic {{.*}} attrs = {dlas.zeros = {in0 = {high = [0, 1], low = [0, 0]}}}
func.func @padded(%x: tensor<5x4xf32>, %start: tensor<4x4x8xf32>) -> (tensor<4x4x8xf32>, tensor<4x4x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<2.0> : tensor<3x3x8xf32>
  %v = arith.constant dense<2.0> : tensor<2x2x8xf32>
  %p = tensor.pad %x low[1, 0] high[0, 2] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<5x4xf32> to tensor<6x6xf32>
  %y = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %w : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  %part = tensor.extract_slice %p[1, 0] [5, 5] [1, 1] : tensor<6x6xf32> to tensor<5x5xf32>
  %z = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%part, %v : tensor<5x5xf32>, tensor<2x2x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  return %y, %z : tensor<4x4x8xf32>, tensor<4x4x8xf32>
}

// Codes are padded with their zero point: with 0 it is zero, with another it is not.
// CHECK-LABEL: func.func @codes
// CHECK: linalg.generic {{.*}} attrs = {dlas.zeros = {in0 = {high = [1, 1], low = [1, 1]}}}
// CHECK: linalg.generic
// CHECK-NOT: dlas.zeros
func.func @codes(%x: tensor<4x4xi8>, %w: tensor<3x3x8xi8>, %start: tensor<4x4x8xi32>) -> (tensor<4x4x8xi32>, tensor<4x4x8xi32>) {
  %zero = arith.constant 0 : i8
  %point = arith.constant 3 : i8
  %p = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : i8
  } : tensor<4x4xi8> to tensor<6x6xi8>
  %q = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %point : i8
  } : tensor<4x4xi8> to tensor<6x6xi8>
  %y = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %w : tensor<6x6xi8>, tensor<3x3x8xi8>) outs(%start : tensor<4x4x8xi32>) {
  ^bb0(%a: i8, %b: i8, %o: i32):
    %c = arith.extui %a : i8 to i32
    %d = arith.extsi %b : i8 to i32
    %m = arith.muli %c, %d : i32
    %s = arith.addi %o, %m : i32
    linalg.yield %s : i32
  } -> tensor<4x4x8xi32>
  %z = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%q, %w : tensor<6x6xi8>, tensor<3x3x8xi8>) outs(%start : tensor<4x4x8xi32>) {
  ^bb0(%a: i8, %b: i8, %o: i32):
    %c = arith.extui %a : i8 to i32
    %d = arith.extsi %b : i8 to i32
    %m = arith.muli %c, %d : i32
    %s = arith.addi %o, %m : i32
    linalg.yield %s : i32
  } -> tensor<4x4x8xi32>
  return %y, %z : tensor<4x4x8xi32>, tensor<4x4x8xi32>
}

// Weights that are no constant, or infinite, may make something of a zero; a maximum does not leave it out.
// CHECK-LABEL: func.func @not_zero
// CHECK-NOT: dlas.zeros
// CHECK: return
func.func @not_zero(%x: tensor<4x4xf32>, %w: tensor<3x3x8xf32>, %start: tensor<4x4x8xf32>) -> (tensor<4x4x8xf32>, tensor<4x4x8xf32>, tensor<4x4x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %infinite = arith.constant dense<0x7F800000> : tensor<3x3x8xf32>
  %finite = arith.constant dense<1.0> : tensor<3x3x8xf32>
  %p = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  %y = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %w : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  %z = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %infinite : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  %u = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %finite : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.maximumf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  return %y, %z, %u : tensor<4x4x8xf32>, tensor<4x4x8xf32>, tensor<4x4x8xf32>
}

// What is written by hand stays.
// CHECK-LABEL: func.func @by_hand
// CHECK: dlas.zeros = {}
func.func @by_hand(%x: tensor<4x4xf32>, %start: tensor<4x4x8xf32>) -> tensor<4x4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<2.0> : tensor<3x3x8xf32>
  %p = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  %y = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %w : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) attrs = {dlas.zeros = {}} {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  return %y : tensor<4x4x8xf32>
}

// Parts side by side in one buffer have the zeros that all of them have; where a part is missing, nothing is known.
// CHECK-LABEL: func.func @parts
// CHECK: linalg.generic {{.*}} attrs = {dlas.zeros = {in0 = {high = [0, 2], low = [0, 0]}}}
// CHECK: linalg.generic
// CHECK-NOT: dlas.zeros
func.func @parts(%a: tensor<3x4xf32>, %b: tensor<2x4xf32>, %start: tensor<4x4x8xf32>) -> (tensor<4x4x8xf32>, tensor<4x4x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<2.0> : tensor<3x3x8xf32>
  %p = tensor.pad %a low[1, 0] high[0, 2] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<3x4xf32> to tensor<4x6xf32>
  %q = tensor.pad %b low[0, 0] high[0, 2] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<2x4xf32> to tensor<2x6xf32>
  %e = tensor.empty() : tensor<6x6xf32>
  %1 = tensor.insert_slice %p into %e[0, 0] [4, 6] [1, 1] : tensor<4x6xf32> into tensor<6x6xf32>
  %2 = tensor.insert_slice %q into %1[4, 0] [2, 6] [1, 1] : tensor<2x6xf32> into tensor<6x6xf32>
  %y = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%2, %w : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%l: f32, %m: f32, %o: f32):
    %n = arith.mulf %l, %m : f32
    %s = arith.addf %o, %n : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  %z = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%1, %w : tensor<6x6xf32>, tensor<3x3x8xf32>) outs(%start : tensor<4x4x8xf32>) {
  ^bb0(%l: f32, %m: f32, %o: f32):
    %n = arith.mulf %l, %m : f32
    %s = arith.addf %o, %n : f32
    linalg.yield %s : f32
  } -> tensor<4x4x8xf32>
  return %y, %z : tensor<4x4x8xf32>, tensor<4x4x8xf32>
}
