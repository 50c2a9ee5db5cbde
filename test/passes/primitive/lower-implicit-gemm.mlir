// RUN: %dlas_opt %s --split-input-file --dlas-lower-implicit-gemm --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/dlas.primitive =/dlas.options = {block = 8}, dlas.primitive =/' %s > %t.mlir
// RUN: not %dlas_opt %t.mlir --split-input-file --dlas-lower-implicit-gemm 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas.options`: 'implicit-gemm' has no option `block`; it has none

// Both factors have channels last; the strides are in the map of the image. Channels are no whole 16 bytes: zeros are.
// CHECK-LABEL: func.func @strided
// CHECK: linalg.pack %arg0 padding_value{{.*}} inner_dims_pos = [1] inner_tiles = [8] into {{.*}} -> tensor<2x1x9x9x8xf16>
// CHECK: linalg.pack %arg1 padding_value{{.*}} inner_dims_pos = [1] inner_tiles = [8] into {{.*}} -> tensor<6x1x3x3x8xf16>
// CHECK: tensor.collapse_shape {{.*}} into tensor<6x3x3x8xf16>
// CHECK: linalg.generic
// CHECK-SAME: -> (d0, d1, d2 * 2 + d5, d3 * 2 + d6, d7)>
// CHECK-SAME: -> (d4, d5, d6, d7)>
// CHECK-SAME: -> (d0, d1, d2, d3, d4)>
// CHECK-SAME: dlas.loops = ["n", "kb", "oh", "ow", "k", "r", "s", "c"], {{.*}}dlas.primitive = "implicit-gemm"
// CHECK: linalg.unpack {{.*}} inner_dims_pos = [1] inner_tiles = [6] {{.*}} tensor<2x1x4x4x6xf32> -> tensor<2x6x4x4xf32>
module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k16.f16.f32"]}} {
func.func @strided(%x: tensor<2x5x9x9xf16>, %w: tensor<6x5x3x3xf16>, %start: tensor<2x6x4x4xf32>) -> tensor<2x6x4x4xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "implicit-gemm", strides = dense<2> : tensor<2xi64>}
      ins(%x, %w : tensor<2x5x9x9xf16>, tensor<6x5x3x3xf16>) outs(%start : tensor<2x6x4x4xf32>) -> tensor<2x6x4x4xf32>
  return %y : tensor<2x6x4x4xf32>
}

// Three channels of two pixels fit into 16 bytes: with a stride of two they are one pixel of eight channels, and the three
// columns of the window are two of those.
// CHECK-LABEL: func.func @pairs
// CHECK: linalg.pack %arg0 padding_value{{.*}} inner_dims_pos = [1] inner_tiles = [4] into {{.*}} -> tensor<1x1x9x10x4xf16>
// CHECK: tensor.expand_shape {{.*}} into tensor<1x1x9x5x2x4xf16>
// CHECK: tensor.collapse_shape {{.*}} into tensor<1x1x9x5x8xf16>
// CHECK: tensor.pad %arg1 low[0, 0, 0, 0] high[0, 1, 0, 1]
// CHECK: linalg.transpose {{.*}} permutation = [0, 2, 3, 1]
// CHECK: tensor.collapse_shape {{.*}} into tensor<6x3x2x8xf16>
// CHECK: linalg.generic
// CHECK-SAME: -> (d0, d1, d2 * 2 + d5, d3 + d6, d7)>
// CHECK-SAME: -> (d4, d5, d6, d7)>
func.func @pairs(%x: tensor<1x3x9x10xf16>, %w: tensor<6x3x3x3xf16>, %start: tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "implicit-gemm", strides = dense<2> : tensor<2xi64>}
      ins(%x, %w : tensor<1x3x9x10xf16>, tensor<6x3x3x3xf16>) outs(%start : tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32>
  return %y : tensor<1x6x4x4xf32>
}

// An odd row has no pairs.
// CHECK-LABEL: func.func @odd
// CHECK: linalg.pack %arg0 {{.*}} inner_tiles = [8] into {{.*}} -> tensor<1x1x9x9x8xf16>
func.func @odd(%x: tensor<1x3x9x9xf16>, %w: tensor<6x3x3x3xf16>, %start: tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "implicit-gemm", strides = dense<2> : tensor<2xi64>}
      ins(%x, %w : tensor<1x3x9x9xf16>, tensor<6x3x3x3xf16>) outs(%start : tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32>
  return %y : tensor<1x6x4x4xf32>
}

// Whole 16 bytes are read as they are.
// CHECK-LABEL: func.func @whole
// CHECK: linalg.pack %arg0 inner_dims_pos = [1] inner_tiles = [16] into {{.*}} -> tensor<1x1x9x9x16xf16>
// CHECK: linalg.transpose ins(%arg1 : tensor<6x16x3x3xf16>) outs({{.*}} : tensor<6x3x3x16xf16>) permutation = [0, 2, 3, 1]
func.func @whole(%x: tensor<1x16x9x9xf16>, %w: tensor<6x16x3x3xf16>, %start: tensor<1x6x7x7xf32>) -> tensor<1x6x7x7xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "implicit-gemm"}
      ins(%x, %w : tensor<1x16x9x9xf16>, tensor<6x16x3x3xf16>) outs(%start : tensor<1x6x7x7xf32>) -> tensor<1x6x7x7xf32>
  return %y : tensor<1x6x7x7xf32>
}

// A linear layer is a product as it is.
// CHECK-LABEL: func.func @linear
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0, {{.*}} : tensor<3x16xf16>, tensor<10x16xf16>)
// CHECK-SAME: dlas.loops = ["n", "k", "c"], {{.*}}dlas.primitive = "implicit-gemm"
func.func @linear(%x: tensor<3x16xf16>, %w: tensor<16x10xf16>) -> tensor<3x10xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<3x10xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<3x10xf32>) -> tensor<3x10xf32>
  %y = linalg.matmul {dlas.primitive = "implicit-gemm"} ins(%x, %w : tensor<3x16xf16>, tensor<16x10xf16>) outs(%zeros : tensor<3x10xf32>) -> tensor<3x10xf32>
  return %y : tensor<3x10xf32>
}

// What is marked otherwise stays.
// CHECK-LABEL: func.func @other
// CHECK: linalg.conv_2d_nchw_fchw
// CHECK-SAME: dlas.primitive = "direct"
func.func @other(%x: tensor<2x5x9x9xf16>, %w: tensor<6x5x3x3xf16>, %start: tensor<2x6x7x7xf32>) -> tensor<2x6x7x7xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"}
      ins(%x, %w : tensor<2x5x9x9xf16>, tensor<6x5x3x3xf16>) outs(%start : tensor<2x6x7x7xf32>) -> tensor<2x6x7x7xf32>
  return %y : tensor<2x6x7x7xf32>
}
}

// -----

// An output channel's group says which input channels it reads, on a device that has products of small matrices.
// CHECK-LABEL: func.func @groups
// CHECK: linalg.generic
// CHECK-SAME: -> (d0, d1, d2 + d5, d3 + d6, (d4 floordiv 32) * 16 + d7)>
// CHECK-SAME: -> (d4, d5, d6, d7)>
module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k16.f16.f32"]}} {
func.func @groups(%x: tensor<1x2x16x9x9xf16>, %w: tensor<2x32x16x3x3xf16>, %start: tensor<1x2x32x7x7xf32>) -> tensor<1x2x32x7x7xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "implicit-gemm", strides = dense<1> : tensor<2xi64>, dilations = dense<1> : tensor<2xi64>}
      ins(%x, %w : tensor<1x2x16x9x9xf16>, tensor<2x32x16x3x3xf16>) outs(%start : tensor<1x2x32x7x7xf32>) -> tensor<1x2x32x7x7xf32>
  return %y : tensor<1x2x32x7x7xf32>
}
}
