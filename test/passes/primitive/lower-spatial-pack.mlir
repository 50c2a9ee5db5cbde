// RUN: %dlas_opt %s --split-input-file --dlas-lower-spatial-pack --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/dlas.primitive =/dlas.options = {block = 2}, dlas.primitive =/' %s > %t.block.mlir
// RUN: %dlas_opt %t.block.mlir --split-input-file --dlas-lower-spatial-pack --mlir-print-local-scope | FileCheck %s --check-prefix=BLOCK
// RUN: sed 's/dlas.primitive =/dlas.options = {block = -4}, dlas.primitive =/' %s > %t.range.mlir
// RUN: not %dlas_opt %t.range.mlir --split-input-file --dlas-lower-spatial-pack 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: sed 's/dlas.primitive =/dlas.options = {block = "wide"}, dlas.primitive =/' %s > %t.type.mlir
// RUN: not %dlas_opt %t.type.mlir --split-input-file --dlas-lower-spatial-pack 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: sed 's/dlas.primitive =/dlas.options = 2, dlas.primitive =/' %s > %t.kind.mlir
// RUN: not %dlas_opt %t.kind.mlir --split-input-file --dlas-lower-spatial-pack 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not %dlas_opt %s --dlas-lower-spatial-pack=tile=4 2>&1 | FileCheck %s --check-prefix=NAME

// RANGE: error: `dlas.options`: `block`: expected at least 0, found -4
// TYPE: error: `dlas.options`: `block`: expected int, found wide
// KIND: error: `dlas.options` is 2 : i64, not a dictionary
// NAME: error: `dlas-lower-spatial-pack` has no option `tile`; it has none

// Activations NCHWc, weights OIHWio, parallel loops before reductions; the layer's name, primitive, options and algebra
// are carried over.
// CHECK-LABEL: func.func @blocks
// CHECK-DAG: %[[W:.*]] = linalg.pack %arg1 inner_dims_pos = [1, 0] inner_tiles = [4, 4] {{.*}} tensor<12x8x3x3xf32> -> tensor<3x2x3x3x4x4xf32>
// CHECK-DAG: %[[X:.*]] = linalg.pack %arg0 inner_dims_pos = [1] inner_tiles = [4] {{.*}} tensor<1x8x6x6xf32> -> tensor<1x2x6x6x4xf32>
// CHECK: %[[ZEROS:.*]] = linalg.fill {{.*}} -> tensor<1x3x4x4x4xf32>
// CHECK: %[[Y:.*]] = linalg.generic
// CHECK-SAME: (d0, d5, d2 + d6, d3 + d7, d8)>
// CHECK-SAME: (d1, d5, d6, d7, d8, d4)>
// CHECK-SAME: (d0, d1, d2, d3, d4)>
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "reduction"]
// CHECK-SAME: ins(%[[X]], %[[W]]
// CHECK-SAME: outs(%[[ZEROS]]
// CHECK-SAME: {dlas.layer = "features.0", dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "r", "s", "c"], dlas.options = {block = 4 : i64}, dlas.primitive = "spatial-pack", dlas.shape = {constant = false, in_channels = 8 : i64, in_size = [6, 6], kernel = [3, 3], out_channels = 12 : i64, out_size = [4, 4]}}
// CHECK: linalg.unpack %[[Y]] inner_dims_pos = [1] inner_tiles = [4] {{.*}} tensor<1x3x4x4x4xf32> -> tensor<1x12x4x4xf32>

// BLOCK-LABEL: func.func @blocks
// BLOCK: -> tensor<6x4x3x3x2x2xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @blocks(%x: tensor<1x8x6x6xf32>, %w: tensor<12x8x3x3xf32>) -> tensor<1x12x4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x12x4x4xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x12x4x4xf32>) -> tensor<1x12x4x4xf32>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "spatial-pack"}
      ins(%x, %w : tensor<1x8x6x6xf32>, tensor<12x8x3x3xf32>) outs(%zeros : tensor<1x12x4x4xf32>) -> tensor<1x12x4x4xf32>
      loc("features.0")
  return %y : tensor<1x12x4x4xf32>
}
}

// -----

// Three channels are read as they are. What is accumulated on is packed, with zeros where the block does not divide.
// CHECK-LABEL: func.func @image
// CHECK: linalg.pack %arg1 padding_value(%{{.*}} : f32) inner_dims_pos = [0] inner_tiles = [4] {{.*}} -> tensor<2x3x3x3x4xf32>
// CHECK: %[[START:.*]] = linalg.pack %arg2 padding_value(%{{.*}} : f32) {{.*}} -> tensor<2x2x4x3x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: (d0, d5, d2 * 2 + d6, d3 * 3 + d7)>
// CHECK-SAME: ins(%arg0, {{.*}} outs(%[[START]]
// CHECK-SAME: dlas.loops = ["n", "kb", "oh", "ow", "k", "c", "r", "s"]
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @image(%x: tensor<2x3x9x9xf32>, %w: tensor<6x3x3x3xf32>, %start: tensor<2x6x4x3xf32>) -> tensor<2x6x4x3xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "spatial-pack", strides = dense<[2, 3]> : vector<2xi64>}
      ins(%x, %w : tensor<2x3x9x9xf32>, tensor<6x3x3x3xf32>) outs(%start : tensor<2x6x4x3xf32>) -> tensor<2x6x4x3xf32>
  return %y : tensor<2x6x4x3xf32>
}
}

// -----

// Any named form: here channels last, with dilations. Of the blocks of four only the five real channels are read.
// CHECK-LABEL: func.func @channels_last
// CHECK: linalg.transpose ins(%arg1 {{.*}} permutation = [3, 2, 0, 1]
// CHECK: linalg.transpose ins(%arg0 {{.*}} permutation = [0, 3, 1, 2]
// CHECK: linalg.pack {{.*}} padding_value{{.*}} -> tensor<1x2x6x6x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: (d0, d8 floordiv 4, d2 + d6 * 2, d3 + d7 * 2, d8 mod 4)>
// CHECK: %[[Y:.*]] = linalg.unpack
// CHECK: linalg.transpose ins(%[[Y]] {{.*}} permutation = [0, 2, 3, 1]
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @channels_last(%x: tensor<1x6x6x5xf32>, %w: tensor<3x3x5x8xf32>, %start: tensor<1x2x2x8xf32>) -> tensor<1x2x2x8xf32> {
  %y = linalg.conv_2d_nhwc_hwcf {dlas.primitive = "spatial-pack", dilations = dense<2> : vector<2xi64>}
      ins(%x, %w : tensor<1x6x6x5xf32>, tensor<3x3x5x8xf32>) outs(%start : tensor<1x2x2x8xf32>) -> tensor<1x2x2x8xf32>
  return %y : tensor<1x2x2x8xf32>
}
}

// -----

// What has another primitive, or none, is left alone.
// CHECK-LABEL: func.func @others
// CHECK-NEXT: linalg.conv_2d_nchw_fchw
// CHECK-NEXT: linalg.conv_2d_nchw_fchw
// CHECK-NEXT: return
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @others(%x: tensor<1x8x3x3xf32>, %w: tensor<8x8x1x1xf32>, %start: tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<1x8x3x3xf32>, tensor<8x8x1x1xf32>) outs(%start : tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32>
  %z = linalg.conv_2d_nchw_fchw
      ins(%y, %w : tensor<1x8x3x3xf32>, tensor<8x8x1x1xf32>) outs(%start : tensor<1x8x3x3xf32>) -> tensor<1x8x3x3xf32>
  return %z : tensor<1x8x3x3xf32>
}
}

// -----

// Operands narrower than the accumulator are widened in the body.
// CHECK-LABEL: func.func @half
// CHECK: linalg.fill {{.*}} -> tensor<1x1x2x2x4xf32>
// CHECK: linalg.generic
// CHECK: ^bb0(%[[A:.*]]: bf16, %[[B:.*]]: bf16, %[[C:.*]]: f32):
// CHECK-DAG: %[[WA:.*]] = arith.extf %[[A]] : bf16 to f32
// CHECK-DAG: %[[WB:.*]] = arith.extf %[[B]] : bf16 to f32
// CHECK: arith.mulf %[[WA]], %[[WB]] : f32
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @half(%x: tensor<1x4x2x2xbf16>, %w: tensor<4x4x1x1xbf16>) -> tensor<1x4x2x2xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x4x2x2xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "spatial-pack"}
      ins(%x, %w : tensor<1x4x2x2xbf16>, tensor<4x4x1x1xbf16>) outs(%zeros : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}

// -----

// A block of a GPU is what one of its threads loads at once: 16 bytes.
// CHECK-LABEL: func.func @threads
// CHECK: linalg.pack %arg0 inner_dims_pos = [1] inner_tiles = [4] {{.*}} -> tensor<1x2x2x2x4xf32>
// CHECK: linalg.generic {{.*}}dlas.options = {block = 4 : i64}
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @threads(%x: tensor<1x8x2x2xf32>, %w: tensor<4x8x1x1xf32>) -> tensor<1x4x2x2xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x4x2x2xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "spatial-pack"}
      ins(%x, %w : tensor<1x8x2x2xf32>, tensor<4x8x1x1xf32>) outs(%zeros : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}
