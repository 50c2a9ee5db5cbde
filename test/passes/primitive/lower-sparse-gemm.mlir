// RUN: %dlas_opt %s --allow-unregistered-dialect --split-input-file --dlas-lower-sparse-gemm --canonicalize --mlir-print-local-scope | FileCheck %s
// RUN: not %dlas_opt %s --dlas-lower-sparse-gemm=panel=4 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-lower-sparse-gemm` has no option `panel`; it has none

#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>

// The pixels that each tap reads are written out; the product skips zeros.
// CHECK-LABEL: func.func @im2col
// CHECK: %[[TAPS:.*]] = linalg.generic {{.*}}(d0, d1, d4 * 2 + d2, d5 * 2 + d3)>
// CHECK-SAME: outs({{.*}} : tensor<1x3x2x2x2x2xf32>) attrs = {dlas.im2col, dlas.loops = ["n", "c", "r", "s", "oh", "ow"]}
// CHECK: %[[COLUMNS:.*]] = tensor.collapse_shape %[[TAPS]] {{\[\[}}0], [1, 2, 3], [4], [5]] {{.*}} into tensor<1x12x2x2xf32>
// CHECK: linalg.generic {{.*}}(d0, d4, d2, d3)>{{.*}}(d1, d4)>{{.*}}(d0, d1, d2, d3)>
// CHECK-SAME: ins(%[[COLUMNS]], %{{.*}} : tensor<1x12x2x2xf32>, tensor<4x12xf32>)
// CHECK-SAME: dlas.loops = ["n", "k", "oh", "ow", "crs"], {{.*}}dlas.primitive = "sparse-gemm", {{.*}}dlas.sparse = {block = 1 : i64, nonzeros = 48 : i64}
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @im2col(%x: tensor<1x3x5x5xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x3x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x3x2x2xf32>) -> tensor<4x3x2x2xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-gemm", strides = dense<2> : tensor<2xi64>}
      ins(%x, %s : tensor<1x3x5x5xf32>, tensor<4x3x2x2xf32, #csr>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}

// -----

// A 1x1 convolution reads its input as it is.
// CHECK-LABEL: func.func @plain
// CHECK-NOT: dlas.im2col
// CHECK: linalg.generic {{.*}} ins(%arg0, %{{.*}} : tensor<1x3x5x5xf32>, tensor<4x3xf32>)
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @plain(%x: tensor<1x3x5x5xf32>, %start: tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32> {
  %w = arith.constant dense<1.0> : tensor<4x3x1x1xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x3x1x1xf32>) -> tensor<4x3x1x1xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-gemm", strides = dense<1> : tensor<2xi64>}
      ins(%x, %s : tensor<1x3x5x5xf32>, tensor<4x3x1x1xf32, #csr>) outs(%start : tensor<1x4x5x5xf32>) -> tensor<1x4x5x5xf32>
  return %y : tensor<1x4x5x5xf32>
}
}

// -----

// So does a linear layer.
// CHECK-LABEL: func.func @linear
// CHECK: linalg.generic {{.*}}(d0, d2)>{{.*}}(d1, d2)>{{.*}}(d0, d1)>
// CHECK-SAME: ins(%arg0, %{{.*}} : tensor<2x3xf32>, tensor<4x3xf32>)
// CHECK-SAME: dlas.loops = ["n", "k", "c"], {{.*}}dlas.sparse = {block = 1 : i64, nonzeros = 12 : i64}
#csr = #sparse_tensor.encoding<{ map = (c, k) -> (k : dense, c : compressed) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @linear(%x: tensor<2x3xf32>, %start: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = arith.constant dense<1.0> : tensor<3x4xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<3x4xf32>) -> tensor<3x4xf32, #csr>
  %y = linalg.matmul {dlas.primitive = "sparse-gemm"} ins(%x, %s : tensor<2x3xf32>, tensor<3x4xf32, #csr>) outs(%start : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
}

// -----

// What another primitive is to do is left alone.
// CHECK-LABEL: func.func @other
// CHECK: linalg.conv_2d_nchw_fchw
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @other(%x: tensor<1x3x5x5xf32>, %start: tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xf32> {
  %w = arith.constant dense<1.0> : tensor<4x3x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x3x2x2xf32>) -> tensor<4x3x2x2xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct", strides = dense<1> : tensor<2xi64>}
      ins(%x, %s : tensor<1x3x5x5xf32>, tensor<4x3x2x2xf32, #csr>) outs(%start : tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xf32>
  return %y : tensor<1x4x4x4xf32>
}
}
