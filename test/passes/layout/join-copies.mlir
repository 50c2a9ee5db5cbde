// RUN: %dlas_opt %s --dlas-join-copies --split-input-file | FileCheck %s
// RUN: not %dlas_opt %s --dlas-join-copies=limit=1 2>&1 | FileCheck %s --check-prefix=NAME
// NAME: error: `dlas-join-copies` has no option `limit`; it has none

// Rounded, padded, transposed: one copy that reads padding of the input.
// CHECK: #map = affine_map<(d0, d1, d2, d3) -> (d0, d3, d1, d2)>
// CHECK: #map1 = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
// CHECK-LABEL: func.func @rounded
// CHECK: %[[PAD:.*]] = tensor.pad %arg0 low[0, 0, 1, 1] high[0, 5, 1, 1]
// CHECK: tensor.yield %{{.*}} : f32
// CHECK: %[[COPY:.*]] = linalg.generic {indexing_maps = [#map, #map1], {{.*}} ins(%[[PAD]] : tensor<1x8x10x10xf32>)
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK-NOT: linalg.transpose
// CHECK: return %[[COPY]] : tensor<1x10x10x8xf16>
#same = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
func.func @rounded(%x: tensor<1x3x8x8xf32>) -> tensor<1x10x10x8xf16> {
  %zero = arith.constant 0.0 : f16
  %0 = tensor.empty() : tensor<1x3x8x8xf16>
  %1 = linalg.generic {indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%x : tensor<1x3x8x8xf32>) outs(%0 : tensor<1x3x8x8xf16>) {
  ^bb0(%in: f32, %out: f16):
    %7 = arith.truncf %in : f32 to f16
    linalg.yield %7 : f16
  } -> tensor<1x3x8x8xf16>
  %2 = tensor.pad %1 low[0, 0, 1, 1] high[0, 5, 1, 1] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f16
  } : tensor<1x3x8x8xf16> to tensor<1x8x10x10xf16>
  %3 = tensor.empty() : tensor<1x10x10x8xf16>
  %4 = linalg.transpose ins(%2 : tensor<1x8x10x10xf16>) outs(%3 : tensor<1x10x10x8xf16>) permutation = [0, 2, 3, 1]
  return %4 : tensor<1x10x10x8xf16>
}

// -----

// Zero becomes 3, the padding is of 5: the elements are changed before, and what is padded is copied once.
// CHECK-LABEL: func.func @shifted
// CHECK: %[[ADDED:.*]] = linalg.generic
// CHECK: %[[PAD:.*]] = tensor.pad %[[ADDED]]
// CHECK: linalg.generic {{.*}} ins(%[[PAD]]
// CHECK-NOT: linalg.transpose
#same = affine_map<(d0, d1) -> (d0, d1)>
func.func @shifted(%x: tensor<3x8xf32>) -> tensor<8x8xf32> {
  %three = arith.constant 3.0 : f32
  %five = arith.constant 5.0 : f32
  %0 = tensor.empty() : tensor<3x8xf32>
  %1 = linalg.generic {indexing_maps = [#same, #same], iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<3x8xf32>) outs(%0 : tensor<3x8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %7 = arith.addf %in, %three : f32
    linalg.yield %7 : f32
  } -> tensor<3x8xf32>
  %2 = tensor.pad %1 low[0, 0] high[5, 0] {
  ^bb0(%a: index, %b: index):
    tensor.yield %five : f32
  } : tensor<3x8xf32> to tensor<8x8xf32>
  %3 = tensor.empty() : tensor<8x8xf32>
  %4 = linalg.transpose ins(%2 : tensor<8x8xf32>) outs(%3 : tensor<8x8xf32>) permutation = [1, 0]
  return %4 : tensor<8x8xf32>
}

// -----

// A transposition alone, one of single elements, and one of what is read elsewhere too.
// CHECK-LABEL: func.func @left
// CHECK: linalg.transpose ins(%arg0
// CHECK: %[[ROW:.*]] = tensor.pad %arg1
// CHECK: linalg.transpose ins(%[[ROW]]
// CHECK: %[[TWICE:.*]] = tensor.pad %arg0
// CHECK: linalg.transpose ins(%[[TWICE]]
func.func @left(%x: tensor<3x8xf32>, %y: tensor<1x8xf32>) -> (tensor<8x3xf32>, tensor<9x1xf32>, tensor<4x8xf32>, tensor<8x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %0 = tensor.empty() : tensor<8x3xf32>
  %1 = linalg.transpose ins(%x : tensor<3x8xf32>) outs(%0 : tensor<8x3xf32>) permutation = [1, 0]
  %2 = tensor.pad %y low[0, 1] high[0, 0] {
  ^bb0(%a: index, %b: index):
    tensor.yield %zero : f32
  } : tensor<1x8xf32> to tensor<1x9xf32>
  %3 = tensor.empty() : tensor<9x1xf32>
  %4 = linalg.transpose ins(%2 : tensor<1x9xf32>) outs(%3 : tensor<9x1xf32>) permutation = [1, 0]
  %5 = tensor.pad %x low[1, 0] high[0, 0] {
  ^bb0(%a: index, %b: index):
    tensor.yield %zero : f32
  } : tensor<3x8xf32> to tensor<4x8xf32>
  %6 = tensor.empty() : tensor<8x4xf32>
  %7 = linalg.transpose ins(%5 : tensor<4x8xf32>) outs(%6 : tensor<8x4xf32>) permutation = [1, 0]
  return %1, %4, %5, %7 : tensor<8x3xf32>, tensor<9x1xf32>, tensor<4x8xf32>, tensor<8x4xf32>
}
