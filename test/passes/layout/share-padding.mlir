// RUN: %dlas_opt %s --dlas-share-padding | FileCheck %s
// RUN: not %dlas_opt %s --dlas-share-padding=low=1 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-share-padding` has no option `low`; it has none

#id = affine_map<(d0, d1, d2) -> (d0, d1, d2)>

// One padding as wide as each of them in every direction; they, and who reads the bare value in a kernel, read slices.
// CHECK-LABEL: func.func @two_paddings
// CHECK: %[[Y:.*]] = linalg.generic {{.*}} ins(%arg0
// CHECK: %[[P:.*]] = tensor.pad %[[Y]] low[0, 2, 1] high[0, 2, 1]
// CHECK-DAG: %[[A:.*]] = tensor.extract_slice %[[P]][0, 1, 0] [2, 6, 6] [1, 1, 1]
// CHECK-DAG: %[[B:.*]] = tensor.extract_slice %[[P]][0, 0, 1] [2, 8, 5] [1, 1, 1]
// CHECK-DAG: %[[M:.*]] = tensor.extract_slice %[[P]][0, 2, 1] [2, 4, 4] [1, 1, 1]
// CHECK: %[[Z:.*]] = linalg.generic {{.*}} ins(%[[M]]
// CHECK: return %[[A]], %[[B]], %[[Z]], %[[Y]]
func.func @two_paddings(%x: tensor<2x4x4xf32>) -> (tensor<2x6x6xf32>, tensor<2x8x5xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x4x4xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : tensor<2x4x4xf32>) outs(%e : tensor<2x4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.negf %a : f32
    linalg.yield %s : f32
  } -> tensor<2x4x4xf32>
  %p = tensor.pad %y low[0, 1, 1] high[0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<2x4x4xf32> to tensor<2x6x6xf32>
  %q = tensor.pad %y low[0, 2, 0] high[0, 2, 1] {
  ^bb0(%i: index, %j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<2x4x4xf32> to tensor<2x8x5xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%y : tensor<2x4x4xf32>) outs(%e : tensor<2x4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %a : f32
    linalg.yield %s : f32
  } -> tensor<2x4x4xf32>
  return %p, %q, %r, %y : tensor<2x6x6xf32>, tensor<2x8x5xf32>, tensor<2x4x4xf32>, tensor<2x4x4xf32>
}

// Padding with zero and with -inf (of a convolution and a pooling) cannot be one.
// CHECK-LABEL: func.func @two_constants
// CHECK: %[[Y:.*]] = linalg.generic
// CHECK: %[[P:.*]] = tensor.pad %[[Y]] low[1, 1] high[1, 1]
// CHECK: %[[Q:.*]] = tensor.pad %[[Y]] low[1, 1] high[1, 1]
// CHECK: return %[[P]], %[[Q]]
func.func @two_constants(%x: tensor<4x4xf32>) -> (tensor<6x6xf32>, tensor<6x6xf32>) {
  %zero = arith.constant 0.0 : f32
  %lowest = arith.constant 0xFF800000 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.negf %a : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %p = tensor.pad %y low[1, 1] high[1, 1] {
  ^bb0(%j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  %q = tensor.pad %y low[1, 1] high[1, 1] {
  ^bb0(%j: index, %k: index):
    tensor.yield %lowest : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  return %p, %q : tensor<6x6xf32>, tensor<6x6xf32>
}

// What nobody computes here, and padding with a value that is no constant, is left alone.
// CHECK-LABEL: func.func @others
// CHECK: %[[P:.*]] = tensor.pad %arg0
// CHECK: %[[Q:.*]] = tensor.pad
// CHECK: tensor.yield %arg1
// CHECK-NOT: tensor.extract_slice
// CHECK: return %[[P]], %[[Q]]
func.func @others(%x: tensor<4x4xf32>, %c: f32) -> (tensor<6x6xf32>, tensor<6x6xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %p = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.negf %a : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %q = tensor.pad %y low[1, 1] high[1, 1] {
  ^bb0(%j: index, %k: index):
    tensor.yield %c : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  return %p, %q : tensor<6x6xf32>, tensor<6x6xf32>
}

// Dynamic shapes stay as they are, and so does what is padded by less than nothing.
// CHECK-LABEL: func.func @left_alone
// CHECK: linalg.generic
// CHECK: linalg.generic
// CHECK: tensor.pad {{.*}} low[0, 1] high[0, 1]
// CHECK: tensor.pad {{.*}} low[0, -1] high[0, 3]
#plain = affine_map<(d0, d1) -> (d0, d1)>
func.func @left_alone(%x: tensor<2x?xf32>, %y: tensor<2x4xf32>) -> (tensor<2x?xf32>, tensor<2x6xf32>) {
  %zero = arith.constant 0.0 : f32
  %a = linalg.generic {indexing_maps = [#plain], iterator_types = ["parallel", "parallel"]} outs(%x : tensor<2x?xf32>) {
  ^bb0(%v: f32):
    %q = arith.negf %v : f32
    linalg.yield %q : f32
  } -> tensor<2x?xf32>
  %b = linalg.generic {indexing_maps = [#plain], iterator_types = ["parallel", "parallel"]} outs(%y : tensor<2x4xf32>) {
  ^bb0(%v: f32):
    %q = arith.negf %v : f32
    linalg.yield %q : f32
  } -> tensor<2x4xf32>
  %p = tensor.pad %a low[0, 1] high[0, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<2x?xf32> to tensor<2x?xf32>
  %q = tensor.pad %b low[0, -1] high[0, 3] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<2x4xf32> to tensor<2x6xf32>
  return %p, %q : tensor<2x?xf32>, tensor<2x6xf32>
}

// What reads a value that is padded to be inserted somewhere, and for nobody else, reads the value.
// CHECK-LABEL: func.func @inserted
// CHECK: %[[Y:.*]] = linalg.generic
// CHECK: %[[P:.*]] = tensor.pad %[[Y]]
// CHECK-NOT: tensor.extract_slice
// CHECK: linalg.generic {{.*}} ins(%[[Y]]
func.func @inserted(%x: tensor<2x4xf32>) -> (tensor<4x6xf32>, tensor<2x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x4xf32>
  %b = tensor.empty() : tensor<4x6xf32>
  %y = linalg.generic {indexing_maps = [#plain, #plain], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%v: f32, %o: f32):
    %q = arith.negf %v : f32
    linalg.yield %q : f32
  } -> tensor<2x4xf32>
  %p = tensor.pad %y low[0, 1] high[0, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<2x4xf32> to tensor<2x6xf32>
  %1 = tensor.insert_slice %p into %b[2, 0] [2, 6] [1, 1] : tensor<2x6xf32> into tensor<4x6xf32>
  %z = linalg.generic {indexing_maps = [#plain, #plain], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%v: f32, %o: f32):
    %q = arith.negf %v : f32
    linalg.yield %q : f32
  } -> tensor<2x4xf32>
  return %1, %z : tensor<4x6xf32>, tensor<2x4xf32>
}
