// RUN: %dlas_opt %s --split-input-file --dlas-lower-winograd --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/dlas.primitive = "winograd"/dlas.options = {tile = 2}, dlas.primitive = "winograd"/' %s > %t.tile.mlir
// RUN: %dlas_opt %t.tile.mlir --split-input-file --dlas-lower-winograd --mlir-print-local-scope | FileCheck %s --check-prefix=TWO
// RUN: sed 's/dlas.primitive = "winograd"/dlas.options = {tile = 3}, dlas.primitive = "winograd"/' %s > %t.three.mlir
// RUN: not %dlas_opt %t.three.mlir --split-input-file --dlas-lower-winograd 2>&1 | FileCheck %s --check-prefix=THREE
// RUN: sed 's/dlas.primitive = "winograd"/dlas.options = {tile = 6}, dlas.primitive = "winograd"/' %s > %t.range.mlir
// RUN: not %dlas_opt %t.range.mlir --split-input-file --dlas-lower-winograd 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: sed 's/dlas.primitive = "gemm"/dlas.primitive = "winograd"/' %s > %t.strided.mlir
// RUN: not %dlas_opt %t.strided.mlir --split-input-file --dlas-lower-winograd 2>&1 | FileCheck %s --check-prefix=STRIDED

// THREE: error: 'winograd{tile=3}' cannot do 3x3 8->4 @6x5: there is no transform for tiles of 3
// RANGE: error: `dlas.options`: `tile`: expected at most 4, found 6
// STRIDED: error: 'winograd' cannot do 3x3 8->4 @3x3 stride 2x2: it is no 3x3 convolution without strides and dilations

// Two tiles of four rows, and of four columns, over the border: two rows and three columns more are read as zeros.
// CHECK-LABEL: func.func @tiles
// CHECK: tensor.pad %arg0 low[0, 0, 0, 0] high[0, 0, 2, 3]
// CHECK: %[[X:.*]] = linalg.pack {{.*}} -> tensor<1x2x10x10x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2 * 4 + d6, d4, d5)>
// CHECK-SAME: ins(%[[X]], {{.*}} : tensor<1x2x10x10x4xf32>, tensor<6x6xf32>)
// CHECK: linalg.generic
// CHECK-SAME: (d3, d2, d4, d0, d5 * 4 + d7, d6)>
// CHECK-SAME: ins(%{{.*}}, %{{.*}} : tensor<1x2x2x6x10x4xf32>, tensor<6x6xf32>)
// CHECK: tensor.collapse_shape {{.*}} into tensor<36x2x4x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: tensor<36x1x2x4x4xf32>)
// CHECK-SAME: {dlas.layer = "features.0", dlas.loops = ["p", "kb", "t", "k", "cb", "c"], dlas.options = {block = 4 : i64, tile = 4 : i64}, dlas.primitive = "winograd", dlas.shape =
// CHECK: tensor.expand_shape {{.*}} into tensor<6x6x1x1x2x2x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: (d5, d6, d1, d0, d2 floordiv 4, d3 floordiv 4, d4)>
// CHECK-SAME: (d2 mod 4, d3 mod 4, d5, d6)>
// CHECK: linalg.unpack {{.*}} -> tensor<1x4x6x5xf32>

// TWO-LABEL: func.func @tiles
// TWO: tensor.collapse_shape {{.*}} into tensor<16x2x9x4xf32>
// TWO: (d2 mod 2, d3 mod 2, d5, d6)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @tiles(%x: tensor<1x8x8x7xf32>) -> tensor<1x4x6x5xf32> {
  %w = arith.constant dense<1.0> : tensor<4x8x3x3xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x4x6x5xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x4x6x5xf32>) -> tensor<1x4x6x5xf32>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "winograd"}
      ins(%x, %w : tensor<1x8x8x7xf32>, tensor<4x8x3x3xf32>) outs(%zeros : tensor<1x4x6x5xf32>) -> tensor<1x4x6x5xf32>
      loc("features.0")
  return %y : tensor<1x4x6x5xf32>
}
}

// -----

// What has another primitive is left alone.
// CHECK-LABEL: func.func @others
// CHECK: linalg.conv_2d_nchw_fchw
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @others(%x: tensor<1x8x7x7xf32>, %start: tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32> {
  %w = arith.constant dense<1.0> : tensor<4x8x3x3xf32>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm", strides = dense<2> : vector<2xi64>}
      ins(%x, %w : tensor<1x8x7x7xf32>, tensor<4x8x3x3xf32>) outs(%start : tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  return %y : tensor<1x4x3x3xf32>
}
}
