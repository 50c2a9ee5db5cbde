// RUN: %dlas_opt %s --dlas-select-primitive=primitive=spatial-pack,depthwise,gemm | FileCheck %s
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=direct choices=%S/Inputs/choices.json fallback=gemm" | FileCheck %s --check-prefix=CHOICES
// RUN: not %dlas_opt %s --dlas-select-primitive="primitive=direct choices=%S/Inputs/choices.json" 2>&1 | FileCheck %s --check-prefix=CHOICE
// RUN: %dlas_opt %s --dlas-select-primitive | FileCheck %s --check-prefix=NONE
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=spatial-pack fallback=depthwise,gemm" 2>&1 | FileCheck %s --check-prefix=FALLBACK
// RUN: not %dlas_opt %s --dlas-select-primitive="primitive=spatial-pack fallback=grouped-spatial-pack" 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not %dlas_opt %s --dlas-select-primitive=primitive=fft 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not %dlas_opt %s --dlas-select-primitive=choices=%S/Inputs/choices-unknown.json 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not %dlas_opt %s --dlas-select-primitive=choices=%S/Inputs/choices-list.json 2>&1 | FileCheck %s --check-prefix=LIST
// RUN: not %dlas_opt %s --dlas-select-primitive=choices=%S/Inputs/none.json 2>&1 | FileCheck %s --check-prefix=MISSING
// RUN: not %dlas_opt %s --dlas-select-primitive=prefer=gemm 2>&1 | FileCheck %s --check-prefix=NAME

// The first primitive that applies is taken; a choice that was written by hand stays.
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "first", dlas.options = {block = 4 : i64}, dlas.primitive = "spatial-pack"}
// CHECK: linalg.depthwise_conv_2d_nchw_chw {dlas.layer = "second", dlas.options = {block = 4 : i64}, dlas.primitive = "depthwise"}
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "by.hand", dlas.options = {layout = "nhwc"}, dlas.primitive = "direct"}
// CHECK: linalg.matmul {dlas.layer = "last", dlas.options = {panel = 4 : i64}, dlas.primitive = "gemm"}

// What is lowered has the options that were chosen.
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=spatial-pack{block=2},depthwise{block=8},gemm{panel=5}" | FileCheck %s --check-prefix=OPTIONS
// OPTIONS: {dlas.layer = "first", dlas.options = {block = 2 : i64}, dlas.primitive = "spatial-pack"}
// OPTIONS: {dlas.layer = "second", dlas.options = {block = 8 : i64}, dlas.primitive = "depthwise"}
// OPTIONS: {dlas.layer = "last", dlas.options = {panel = 5 : i64}, dlas.primitive = "gemm"}
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=spatial-pack{block=2},depthwise{block=8},gemm{panel=5}" --dlas-lower-spatial-pack --dlas-lower-depthwise --dlas-lower-gemm | FileCheck %s --check-prefix=LOWERED
// LOWERED: tensor<4x4x3x3x2x2xf32>
// LOWERED: tensor<1x1x3x3x1x8xf32>
// LOWERED: tensor<2x72x5xf32>

// Selection asks with the options: with blocks of 2 a multiplier of 3 has no place, whatever the lanes are.
// RUN: sed 's/{dlas.primitive = "direct"}/{dlas.primitive = "depthwise", dlas.options = {block = 3}}/' %s > %t.hand.mlir
// RUN: not %dlas_opt %t.hand.mlir --dlas-select-primitive=primitive=direct,gemm 2>&1 | FileCheck %s --check-prefix=HAND
// HAND: error: layer 'by.hand' (2x2 8->8 @3x3): 'depthwise{block=3}' does not apply: it is not depthwise

// Options that there are not.
// RUN: not %dlas_opt %s --dlas-select-primitive=primitive=spatial-pack{blok=2} 2>&1 | FileCheck %s --check-prefix=BLOK
// BLOK: error: primitive `spatial-pack{blok=2}`: `spatial-pack` has no option `blok` (did you mean `block`?)
// RUN: not %dlas_opt %s --dlas-select-primitive=primitive=spatial-pack{block=wide} 2>&1 | FileCheck %s --check-prefix=WIDE
// WIDE: error: primitive `spatial-pack{block=wide}`: `block`: expected a whole number, found `wide`
// RUN: not %dlas_opt %s --dlas-select-primitive=primitive=direct(gemm) 2>&1 | FileCheck %s --check-prefix=NEST
// NEST: error: `direct(gemm)` is no primitive with options, such as spatial-pack{block=8}

// A choice that the mark of a hand goes before is not taken silently.
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=direct choices=%S/Inputs/choices-marked.json fallback=gemm" 2>&1 | FileCheck %s --check-prefix=MARKED
// MARKED: remark: layer 'by.hand' is marked with 'direct': the choice 'gemm{panel=2}' is not taken
// MARKED: dlas.layer = "by.hand", dlas.options = {layout = "nhwc"}, dlas.primitive = "direct"

// The file goes before the preference. Its choice for the linear layer does not apply.
// CHOICES: linalg.conv_2d_nchw_fchw {dlas.layer = "first", {{.*}}dlas.primitive = "gemm"}
// CHOICES: linalg.depthwise_conv_2d_nchw_chw {dlas.layer = "second", {{.*}}dlas.primitive = "direct"}
// CHOICES: linalg.matmul {dlas.layer = "last", {{.*}}dlas.primitive = "gemm"}
// CHOICE: error: layer 'last' (1x1 72->10 @1x1): 'direct' does not apply: a linear layer has no spatial dimensions

// Without a preference only what was written by hand is checked and named.
// NONE: linalg.conv_2d_nchw_fchw ins
// NONE: linalg.depthwise_conv_2d_nchw_chw ins
// NONE: linalg.conv_2d_nchw_fchw {dlas.layer = "by.hand", dlas.options = {layout = "nhwc"}, dlas.primitive = "direct"}
// NONE: linalg.matmul ins

// FALLBACK-DAG: remark: layer 'second' (3x3 8->8 @4x4 groups 8): 'spatial-pack' does not apply: it has groups (see grouped-spatial-pack and depthwise); 'depthwise' is taken instead
// FALLBACK-DAG: remark: layer 'last' (1x1 72->10 @1x1): 'spatial-pack' does not apply: a linear layer has no spatial dimensions; 'gemm' is taken instead

// REFUSED: error: layer 'last' (1x1 72->10 @1x1): 'spatial-pack' does not apply: a linear layer has no spatial dimensions; 'grouped-spatial-pack' does not apply: it has no groups

// UNKNOWN: error: there is no primitive 'fft'; there are depthwise, direct, gemm, grouped-spatial-pack, implicit-gemm, sparse-direct, sparse-gemm, sparse-spatial-pack, spatial-pack, winograd
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
