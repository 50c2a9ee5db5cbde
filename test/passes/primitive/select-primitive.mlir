// RUN: %dlas_opt %s --dlas-select-primitive=primitive=spatial-pack,depthwise,gemm | FileCheck %s
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=direct choices=%S/Inputs/choices.json fallback=gemm" | FileCheck %s --check-prefix=CHOICES
// RUN: not %dlas_opt %s --dlas-select-primitive="primitive=direct choices=%S/Inputs/choices.json" 2>&1 | FileCheck %s --check-prefix=CHOICE
// RUN: %dlas_opt %s --dlas-select-primitive | FileCheck %s --check-prefix=NONE
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=spatial-pack fallback=depthwise,gemm" 2>&1 | FileCheck %s --check-prefix=FALLBACK
// RUN: not %dlas_opt %s --dlas-select-primitive="primitive=spatial-pack fallback=grouped-spatial-pack" 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not %dlas_opt %s --dlas-select-primitive=primitive=winograd 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not %dlas_opt %s --dlas-select-primitive=choices=%S/Inputs/choices-unknown.json 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not %dlas_opt %s --dlas-select-primitive=choices=%S/Inputs/choices-list.json 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: not %dlas_opt %s --dlas-select-primitive=choices=%S/Inputs/none.json 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not %dlas_opt %s --dlas-select-primitive=prefer=gemm 2>&1 | FileCheck %s --check-prefix=NAME

// The first primitive that applies is taken; a choice that was written by hand stays.
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "first", dlas.primitive = "spatial-pack"}
// CHECK: linalg.depthwise_conv_2d_nchw_chw {dlas.layer = "second", dlas.primitive = "depthwise"}
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "by.hand", dlas.primitive = "direct"}
// CHECK: linalg.matmul {dlas.layer = "last", dlas.primitive = "gemm"}

// The file goes before the preference. Its choice for the linear layer does not apply.
// CHOICES: linalg.conv_2d_nchw_fchw {dlas.layer = "first", dlas.primitive = "gemm"}
// CHOICES: linalg.depthwise_conv_2d_nchw_chw {dlas.layer = "second", dlas.primitive = "direct"}
// CHOICES: linalg.matmul {dlas.layer = "last", dlas.primitive = "gemm"}
// CHOICE: error: layer 'last' (1x1 72->10 @1x1): 'direct' does not apply: a linear layer has no spatial dimensions

// Without a preference only what was written by hand is checked and named.
// NONE: linalg.conv_2d_nchw_fchw ins
// NONE: linalg.depthwise_conv_2d_nchw_chw ins
// NONE: linalg.conv_2d_nchw_fchw {dlas.layer = "by.hand", dlas.primitive = "direct"}
// NONE: linalg.matmul ins

// FALLBACK-DAG: remark: layer 'second' (3x3 8->8 @4x4 groups 8): 'spatial-pack' does not apply: it has groups (see grouped-spatial-pack and depthwise); 'depthwise' is taken instead
// FALLBACK-DAG: remark: layer 'last' (1x1 72->10 @1x1): 'spatial-pack' does not apply: a linear layer has no spatial dimensions; 'gemm' is taken instead

// REFUSED: error: layer 'last' (1x1 72->10 @1x1): 'spatial-pack' does not apply: a linear layer has no spatial dimensions; 'grouped-spatial-pack' does not apply: it has no groups

// UNKNOWN: error: there is no primitive 'winograd'; there are depthwise, direct, gemm, grouped-spatial-pack, sparse-direct, sparse-gemm, sparse-spatial-pack, spatial-pack
// LIST: error: choices {{.*}}choices-list.json: an object from layer names to primitives is wanted
// MISSING: error: choices {{.*}}none.json: [Errno 2] No such file or directory
// NAME: error: `dlas-select-primitive` has no option `prefer`
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x8x8x8xf32>, %w1: tensor<8x8x3x3xf32>, %s1: tensor<1x8x6x6xf32>, %w2: tensor<8x3x3xf32>, %s2: tensor<1x8x4x4xf32>,
             %w3: tensor<8x8x2x2xf32>, %s3: tensor<1x8x3x3xf32>, %w4: tensor<72x10xf32>, %s4: tensor<1x10xf32>) -> tensor<1x10xf32> {
  %1 = linalg.conv_2d_nchw_fchw
      ins(%x, %w1 : tensor<1x8x8x8xf32>, tensor<8x8x3x3xf32>) outs(%s1 : tensor<1x8x6x6xf32>) -> tensor<1x8x6x6xf32> loc("first")
  %2 = linalg.depthwise_conv_2d_nchw_chw
      ins(%1, %w2 : tensor<1x8x6x6xf32>, tensor<8x3x3xf32>) outs(%s2 : tensor<1x8x4x4xf32>) -> tensor<1x8x4x4xf32> loc("second")
  %3 = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"}
      ins(%2, %w3 : tensor<1x8x4x4xf32>, tensor<8x8x2x2xf32>) outs(%s3 : tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32> loc("by.hand")
  %flat = tensor.collapse_shape %3 [[0], [1, 2, 3]] : tensor<1x8x3x3xf32> into tensor<1x72xf32>
  %4 = linalg.matmul ins(%flat, %w4 : tensor<1x72xf32>, tensor<72x10xf32>) outs(%s4 : tensor<1x10xf32>) -> tensor<1x10xf32> loc("last")
  return %4 : tensor<1x10xf32>
}
}
