// RUN: %dlas_opt %s --split-input-file --dlas-lower-gemm --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/dlas.primitive =/dlas.options = {panel = 2}, dlas.primitive =/' %s > %t.panel.mlir
// RUN: %dlas_opt %t.panel.mlir --split-input-file --dlas-lower-gemm --mlir-print-local-scope | FileCheck %s --check-prefix=PANEL
// RUN: sed 's/dlas.primitive =/dlas.options = {panel = -1}, dlas.primitive =/' %s > %t.range.mlir
// RUN: not %dlas_opt %t.range.mlir --split-input-file --dlas-lower-gemm 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: sed 's/dlas.primitive =/dlas.options = {panel = 16}, dlas.primitive =/' %s > %t.wide.mlir
// RUN: %dlas_opt %t.wide.mlir --split-input-file --dlas-lower-gemm 2>&1 | FileCheck %s --check-prefix=WIDE
// RUN: not %dlas_opt %s --dlas-lower-gemm=block=4 2>&1 | FileCheck %s --check-prefix=NAME

// RANGE: error: `dlas.options`: `panel`: expected at least 0, found -1
// NAME: error: `dlas-lower-gemm` has no option `block`; it has none
// WIDE: remark: {{.*}}'gemm{panel=16}' does not fit; 'gemm{panel=4}' is taken instead

// Pixels in rows, weights in panels [K/k, R*S*C, k]; im2col is an operation of its own.
// CHECK-LABEL: func.func @image
// CHECK: %[[X:.*]] = linalg.pack %arg0 inner_dims_pos = [1] inner_tiles = [8] {{.*}} -> tensor<1x1x6x6x8xf32>
// CHECK: %[[COLUMNS:.*]] = linalg.generic
// CHECK-SAME: (d0, 0, d1 * 2 + d3, d2 * 2 + d4, d5)>
// CHECK-SAME: ins(%[[X]]
// CHECK-SAME: attrs = {dlas.im2col, dlas.loops = ["n", "oh", "ow", "r", "s", "c"]}
// CHECK: %[[A:.*]] = tensor.collapse_shape %[[COLUMNS]] {{\[}}[0, 1, 2], [3, 4, 5]] : tensor<1x2x2x3x3x8xf32> into tensor<4x72xf32>
// CHECK: %[[W:.*]] = linalg.pack {{.*}} tensor<10x72xf32> -> tensor<3x72x4xf32>
// CHECK: %[[C:.*]] = linalg.generic
// CHECK-SAME: -> (d0, d3)>
// CHECK-SAME: -> (d1, d3, d2)>
// CHECK-SAME: -> (d0, d1, d2)>
// CHECK-SAME: iterator_types = ["parallel", "parallel", "parallel", "reduction"]
// CHECK-SAME: ins(%[[A]], %[[W]]
// CHECK-SAME: dlas.loops = ["m", "nb", "n", "k"], {{.*}}dlas.primitive = "gemm"
// CHECK: linalg.unpack {{.*}} inner_tiles = [12] {{.*}} -> tensor<1x10x2x2xf32>

// PANEL-LABEL: func.func @image
// PANEL: linalg.pack {{.*}} tensor<10x72xf32> -> tensor<5x72x2xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @image(%x: tensor<1x8x6x6xf32>, %w: tensor<10x8x3x3xf32>, %start: tensor<1x10x2x2xf32>) -> tensor<1x10x2x2xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm", strides = dense<2> : vector<2xi64>}
      ins(%x, %w : tensor<1x8x6x6xf32>, tensor<10x8x3x3xf32>) outs(%start : tensor<1x10x2x2xf32>) -> tensor<1x10x2x2xf32>
  return %y : tensor<1x10x2x2xf32>
}
}

// -----

// A 1x1 convolution reads its input as it is, channels last; six channels lie in a block of eight, of which two are not
// read.
// CHECK-LABEL: func.func @pointwise
// CHECK: %[[X:.*]] = linalg.pack %arg0 padding_value{{.*}} -> tensor<2x1x3x3x8xf32>
// CHECK-NOT: dlas.im2col
// CHECK: %[[A:.*]] = tensor.collapse_shape %[[X]] {{.*}} into tensor<18x8xf32>
// CHECK: tensor.extract_slice %[[A]][0, 0] [18, 6]
// CHECK-NOT: tensor.pad
// CHECK: dlas.primitive = "gemm"
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @pointwise(%x: tensor<2x6x3x3xf32>, %w: tensor<8x6x1x1xf32>, %start: tensor<2x8x3x3xf32>) -> tensor<2x8x3x3xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<2x6x3x3xf32>, tensor<8x6x1x1xf32>) outs(%start : tensor<2x8x3x3xf32>) -> tensor<2x8x3x3xf32>
  return %y : tensor<2x8x3x3xf32>
}
}

// -----

// With strides even that needs its columns written out.
// CHECK-LABEL: func.func @strided_pointwise
// CHECK: (d0, 0, d1 * 2 + d3, d2 * 2 + d4, d5)>
// CHECK-SAME: dlas.im2col
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @strided_pointwise(%x: tensor<1x8x3x3xf32>, %w: tensor<8x8x1x1xf32>, %start: tensor<1x8x2x2xf32>) -> tensor<1x8x2x2xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm", strides = dense<2> : vector<2xi64>}
      ins(%x, %w : tensor<1x8x3x3xf32>, tensor<8x8x1x1xf32>) outs(%start : tensor<1x8x2x2xf32>) -> tensor<1x8x2x2xf32>
  return %y : tensor<1x8x2x2xf32>
}
}

// -----

// Groups are a batch of products, a panel lies in one group: twelve output channels in eight lanes make panels of four.
// CHECK-LABEL: func.func @groups
// CHECK: (d0, 0, d1 + d4, d2 + d5, d3 * 3 + d6)>
// CHECK-SAME: dlas.im2col, dlas.loops = ["n", "oh", "ow", "g", "r", "s", "c"]
// CHECK: tensor.collapse_shape {{.*}} into tensor<4x2x27xf32>
// CHECK: linalg.generic
// CHECK-SAME: -> (d0, d1, d4)>
// CHECK-SAME: -> (d1, d2, d4, d3)>
// CHECK-SAME: -> (d0, d1, d2, d3)>
// CHECK-SAME: tensor<4x2x27xf32>, tensor<2x3x27x4xf32>
// CHECK-SAME: dlas.loops = ["m", "g", "nb", "n", "k"]
module attributes {dlas.target = {name = "eight-lanes", kind = "cpu", vector_bits = 256 : i64, vector_registers = 32 : i64}} {
func.func @groups(%x: tensor<1x2x3x4x4xf32>, %w: tensor<2x12x3x3x3xf32>, %start: tensor<1x2x12x2x2xf32>) -> tensor<1x2x12x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<1x2x3x4x4xf32>, tensor<2x12x3x3x3xf32>) outs(%start : tensor<1x2x12x2x2xf32>) -> tensor<1x2x12x2x2xf32>
  return %y : tensor<1x2x12x2x2xf32>
}
}

// -----

// A linear layer, on a target that has no vectors: one panel.
// CHECK-LABEL: func.func @linear
// CHECK: %[[W:.*]] = linalg.pack {{.*}} tensor<40x7xf32> -> tensor<1x7x40xf32>
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0, %[[W]] : tensor<3x7xf32>, tensor<1x7x40xf32>)
// CHECK: linalg.unpack {{.*}} tensor<3x1x40xf32> -> tensor<3x40xf32>
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @linear(%x: tensor<3x7xf32>, %w: tensor<7x40xf32>) -> tensor<3x40xf32> {
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<3x40xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<3x40xf32>) -> tensor<3x40xf32>
  %y = linalg.matmul {dlas.primitive = "gemm"} ins(%x, %w : tensor<3x7xf32>, tensor<7x40xf32>) outs(%zeros : tensor<3x40xf32>) -> tensor<3x40xf32>
  return %y : tensor<3x40xf32>
}
}

// -----

// Channels stay as many as they are, and so do the groups' odd numbers of output channels.
// CHECK-LABEL: func.func @groups_without_vectors
// CHECK: linalg.generic {{.*}} ins({{.*}} : tensor<1x1x4x4x6xf32>) outs({{.*}} : tensor<1x2x2x2x3x3x3xf32>)
// CHECK: linalg.generic {{.*}} ins({{.*}} : tensor<4x2x27xf32>, tensor<2x1x27x5xf32>)
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @groups_without_vectors(%x: tensor<1x2x3x4x4xf32>, %w: tensor<2x5x3x3x3xf32>, %start: tensor<1x2x5x2x2xf32>) -> tensor<1x2x5x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<1x2x3x4x4xf32>, tensor<2x5x3x3x3xf32>) outs(%start : tensor<1x2x5x2x2xf32>) -> tensor<1x2x5x2x2xf32>
  return %y : tensor<1x2x5x2x2xf32>
}
}

// -----

// A GPU with products of small matrices: channels filled up to 16 bytes, weights [K, R*S*C], and pixels stay rows and
// columns. A 1x1 convolution reads its input as it is, groups and linear layers likewise.
// CHECK-LABEL: func.func @matrices
// CHECK-DAG: linalg.pack %arg0 {{.*}} inner_tiles = [8] {{.*}} tensor<1x3x6x6xf16> -> tensor<1x1x6x6x8xf16>
// CHECK: linalg.generic {{.*}}dlas.im2col
// CHECK: tensor.expand_shape {{.*}} into tensor<1x1x4x4x72xf16>
// CHECK: tensor.collapse_shape {{.*}} tensor<32x3x3x8xf16> into tensor<32x72xf16>
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2, d3, d5)>, affine_map<{{.*}} -> (d4, d5)>, affine_map<{{.*}} -> (d0, d1, d2, d3, d4)>
// CHECK-SAME: dlas.loops = ["n", "kb", "oh", "ow", "k", "rsc"]
// CHECK-LABEL: func.func @groups
// CHECK-NOT: dlas.im2col
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2, d3, (d4 floordiv 32) * 8 + d5)>
// CHECK-LABEL: func.func @linear
// CHECK: linalg.generic
// CHECK-SAME: -> (d0, d2)>, affine_map<{{.*}} -> (d1, d2)>, affine_map<{{.*}} -> (d0, d1)>
module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k16.f16.f32"]}} {
func.func @matrices(%x: tensor<1x3x6x6xf16>, %w: tensor<32x3x3x3xf16>, %start: tensor<1x32x4x4xf32>) -> tensor<1x32x4x4xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<1x3x6x6xf16>, tensor<32x3x3x3xf16>) outs(%start : tensor<1x32x4x4xf32>) -> tensor<1x32x4x4xf32>
  return %y : tensor<1x32x4x4xf32>
}
func.func @groups(%x: tensor<1x2x8x5x5xf16>, %w: tensor<2x32x8x1x1xf16>, %start: tensor<1x2x32x5x5xf32>) -> tensor<1x2x32x5x5xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<1x2x8x5x5xf16>, tensor<2x32x8x1x1xf16>) outs(%start : tensor<1x2x32x5x5xf32>) -> tensor<1x2x32x5x5xf32>
  return %y : tensor<1x2x32x5x5xf32>
}
func.func @linear(%x: tensor<3x16xf16>, %w: tensor<16x40xf16>, %start: tensor<3x40xf32>) -> tensor<3x40xf32> {
  %y = linalg.matmul {dlas.primitive = "gemm"} ins(%x, %w : tensor<3x16xf16>, tensor<16x40xf16>) outs(%start : tensor<3x40xf32>) -> tensor<3x40xf32>
  return %y : tensor<3x40xf32>
}
}
