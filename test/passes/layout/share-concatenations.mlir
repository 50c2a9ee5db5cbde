// RUN: %dlas_opt %s --dlas-share-concatenations | FileCheck %s
// RUN: not %dlas_opt %s --dlas-share-concatenations=dim=1 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-share-concatenations` has no option `dim`; it has none

// What is concatenated of a beginning that is concatenated already is one buffer.
// CHECK-LABEL: func.func @dense_block
// CHECK: %[[BUFFER:.*]] = tensor.empty() : tensor<1x9x2x2xf32>
// CHECK: %[[A:.*]] = tensor.insert_slice %arg0 into %[[BUFFER]][0, 0, 0, 0]
// CHECK: %[[B:.*]] = tensor.insert_slice %arg1 into %[[A]][0, 4, 0, 0]
// CHECK: %[[C:.*]] = tensor.extract_slice %[[B]][0, 0, 0, 0] [1, 6, 2, 2]
// CHECK: %[[PART:.*]] = tensor.extract_slice %[[C]][0, 1, 0, 0]
// CHECK: %[[D:.*]] = tensor.insert_slice %[[PART]] into %[[B]][0, 6, 0, 0]
// CHECK: return %[[C]], %[[D]]
func.func @dense_block(%a: tensor<1x4x2x2xf32>, %b: tensor<1x2x2x2xf32>) -> (tensor<1x6x2x2xf32>, tensor<1x9x2x2xf32>) {
  %c1 = tensor.concat dim(1) %a, %b : (tensor<1x4x2x2xf32>, tensor<1x2x2x2xf32>) -> tensor<1x6x2x2xf32>
  %d = tensor.extract_slice %c1[0, 1, 0, 0] [1, 3, 2, 2] [1, 1, 1, 1] : tensor<1x6x2x2xf32> to tensor<1x3x2x2xf32>
  %c2 = tensor.concat dim(1) %a, %b, %d : (tensor<1x4x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x3x2x2xf32>) -> tensor<1x9x2x2xf32>
  return %c1, %c2 : tensor<1x6x2x2xf32>, tensor<1x9x2x2xf32>
}

// Another order of the same parts, and the same part twice.
// CHECK-LABEL: func.func @twice
// CHECK: tensor.empty() : tensor<1x6xf32>
// CHECK: tensor.empty() : tensor<1x6xf32>
// CHECK: tensor.empty() : tensor<1x8xf32>
// CHECK: tensor.insert_slice %arg0 into %{{.*}}[0, 4]
func.func @twice(%a: tensor<1x4xf32>, %b: tensor<1x2xf32>) -> (tensor<1x6xf32>, tensor<1x6xf32>, tensor<1x8xf32>) {
  %c1 = tensor.concat dim(1) %a, %b : (tensor<1x4xf32>, tensor<1x2xf32>) -> tensor<1x6xf32>
  %c2 = tensor.concat dim(1) %b, %a : (tensor<1x2xf32>, tensor<1x4xf32>) -> tensor<1x6xf32>
  %c3 = tensor.concat dim(1) %a, %a : (tensor<1x4xf32>, tensor<1x4xf32>) -> tensor<1x8xf32>
  return %c1, %c2, %c3 : tensor<1x6xf32>, tensor<1x6xf32>, tensor<1x8xf32>
}

// The beginning stands behind the whole here: it gets a buffer of its own.
// CHECK-LABEL: func.func @longest_first
// CHECK: tensor.empty() : tensor<1x8xf32>
// CHECK: tensor.empty() : tensor<1x6xf32>
func.func @longest_first(%a: tensor<1x4xf32>, %b: tensor<1x2xf32>) -> (tensor<1x8xf32>, tensor<1x6xf32>) {
  %c1 = tensor.concat dim(1) %a, %b, %b : (tensor<1x4xf32>, tensor<1x2xf32>, tensor<1x2xf32>) -> tensor<1x8xf32>
  %c2 = tensor.concat dim(1) %a, %b : (tensor<1x4xf32>, tensor<1x2xf32>) -> tensor<1x6xf32>
  return %c1, %c2 : tensor<1x8xf32>, tensor<1x6xf32>
}

// Parts of dynamic shape stay concatenated.
// CHECK-LABEL: func.func @dynamic
// CHECK: tensor.concat dim(1) %arg0, %arg0
func.func @dynamic(%x: tensor<1x?x2xf32>) -> tensor<1x?x2xf32> {
  %c = tensor.concat dim(1) %x, %x : (tensor<1x?x2xf32>, tensor<1x?x2xf32>) -> tensor<1x?x2xf32>
  return %c : tensor<1x?x2xf32>
}

// Where nobody reads a concatenation but its padding in other dimensions, the parts are padded, each once.
// CHECK-LABEL: func.func @padded
// CHECK: %[[A:.*]] = tensor.pad %arg0 low[0, 0, 1, 0] high[0, 0, 1, 0]
// CHECK: %[[B:.*]] = tensor.pad %arg1 low[0, 0, 1, 0] high[0, 0, 1, 0]
// CHECK-NOT: tensor.pad
// CHECK: tensor.empty() : tensor<1x8x4x2xf32>
// CHECK: tensor.insert_slice %[[A]] into %{{.*}}[0, 0, 0, 0]
// CHECK: tensor.insert_slice %[[B]] into %{{.*}}[0, 4, 0, 0]
// CHECK: tensor.insert_slice %[[B]] into %{{.*}}[0, 6, 0, 0]
func.func @padded(%a: tensor<1x4x2x2xf32>, %b: tensor<1x2x2x2xf32>) -> tensor<1x8x4x2xf32> {
  %zero = arith.constant 0.0 : f32
  %c = tensor.concat dim(1) %a, %b, %b : (tensor<1x4x2x2xf32>, tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) -> tensor<1x8x2x2xf32>
  %p = tensor.pad %c low[0, 0, 1, 0] high[0, 0, 1, 0] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x8x2x2xf32> to tensor<1x8x4x2xf32>
  return %p : tensor<1x8x4x2xf32>
}

// Padding of what is concatenated along that dimension, and of what somebody reads as it is, stays behind it.
// CHECK-LABEL: func.func @padded_behind
// CHECK-COUNT-2: tensor.insert_slice
// CHECK: tensor.pad {{.*}} low[0, 1, 0]
// CHECK-COUNT-2: tensor.insert_slice
// CHECK: tensor.pad {{.*}} low[0, 0, 1]
func.func @padded_behind(%a: tensor<1x4x2xf32>) -> (tensor<1x9x2xf32>, tensor<1x8x3xf32>, tensor<1x8x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %c = tensor.concat dim(1) %a, %a : (tensor<1x4x2xf32>, tensor<1x4x2xf32>) -> tensor<1x8x2xf32>
  %p = tensor.pad %c low[0, 1, 0] high[0, 0, 0] {
  ^bb0(%i: index, %j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<1x8x2xf32> to tensor<1x9x2xf32>
  %d = tensor.concat dim(1) %a, %a : (tensor<1x4x2xf32>, tensor<1x4x2xf32>) -> tensor<1x8x2xf32>
  %q = tensor.pad %d low[0, 0, 1] high[0, 0, 0] {
  ^bb0(%i: index, %j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<1x8x2xf32> to tensor<1x8x3xf32>
  return %p, %q, %d : tensor<1x9x2xf32>, tensor<1x8x3xf32>, tensor<1x8x2xf32>
}
