// RUN: %dlas_opt %s --allow-unregistered-dialect --split-input-file --dlas-lower-sparse-direct --mlir-print-local-scope | FileCheck %s
// RUN: not %dlas_opt %s --dlas-lower-sparse-direct=block=4 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-lower-sparse-direct` has no option `block`; it has none

#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
#bsr2 = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k floordiv 2 : dense, c : compressed, r : compressed, s : compressed, k mod 2 : dense) }>

// The dense constant is read, and the non-zeros are counted.
// CHECK-LABEL: func.func @csr
// CHECK: linalg.generic
// CHECK-SAME: (d0, d4, d2 + d5, d3 + d6)>
// CHECK-SAME: -> (d1, d4, d5, d6)>
// CHECK-SAME: ins(%arg0, %cst{{.*}} : tensor<1x1x4x4xf32>, tensor<2x1x2x2xf32>)
// CHECK-SAME: dlas.loops = ["n", "k", "oh", "ow", "c", "r", "s"], {{.*}}dlas.primitive = "sparse-direct", {{.*}}dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64}
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @csr(%x: tensor<1x1x4x4xf32>, %start: tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]]], [[[0.0, 3.0], [0.0, 0.0]]]]> : tensor<2x1x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<2x1x2x2xf32>) -> tensor<2x1x2x2xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct"}
      ins(%x, %s : tensor<1x1x4x4xf32>, tensor<2x1x2x2xf32, #csr>) outs(%start : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  return %y : tensor<1x2x3x3xf32>
}
}

// -----

#bsr2 = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k floordiv 2 : dense, c : compressed, r : compressed, s : compressed, k mod 2 : dense) }>

// With a stride even and odd columns are put apart. Blocks are counted, not weights.
// CHECK-LABEL: func.func @strided_blocks
// CHECK: tensor.pad %arg0 low[0, 0, 0, 0] high[0, 0, 0, 1]
// CHECK: %[[APART:.*]] = linalg.generic {{.*}}(d0, d1, d2, d4 * 2 + d3)>{{.*}} ins(%padded : tensor<1x1x5x6xf32>) outs({{.*}} : tensor<1x1x5x2x3xf32>) attrs = {dlas.loops = ["n", "c", "h", "p", "w"]}
// CHECK: linalg.generic
// CHECK-SAME: (d0, d4, d2 * 2 + d5, d6 mod 2, d3 + d6 floordiv 2)>
// CHECK-SAME: ins(%[[APART]]
// CHECK-SAME: dlas.sparse = {block = 2 : i64, nonzeros = 3 : i64}
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @strided_blocks(%x: tensor<1x1x5x5xf32>, %start: tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32> {
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]]], [[[0.0, 3.0], [0.0, 0.0]]]]> : tensor<2x1x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<2x1x2x2xf32>) -> tensor<2x1x2x2xf32, #bsr2>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct", strides = dense<2> : tensor<2xi64>}
      ins(%x, %s : tensor<1x1x5x5xf32>, tensor<2x1x2x2xf32, #bsr2>) outs(%start : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  return %y : tensor<1x2x2x2xf32>
}
}

// -----

#csr = #sparse_tensor.encoding<{ map = (g, k, c, r, s) -> (g : dense, k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>

// Every output channel reads the channels of its own group.
// CHECK-LABEL: func.func @groups
// CHECK: linalg.generic
// CHECK-SAME: (d0, (d1 floordiv 3) * 2 + d4, d2 + d5, d3 + d6)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @groups(%x: tensor<1x2x2x4x4xf32>, %start: tensor<1x2x3x4x4xf32>) -> tensor<1x2x3x4x4xf32> {
  %w = arith.constant dense<1.0> : tensor<2x3x2x1x1xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<2x3x2x1x1xf32>) -> tensor<2x3x2x1x1xf32, #csr>
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "sparse-direct"}
      ins(%x, %s : tensor<1x2x2x4x4xf32>, tensor<2x3x2x1x1xf32, #csr>) outs(%start : tensor<1x2x3x4x4xf32>) -> tensor<1x2x3x4x4xf32>
  return %y : tensor<1x2x3x4x4xf32>
}
}

// -----

// A layer that another primitive is to do is left alone, encoding and all.
// CHECK-LABEL: func.func @other
// CHECK: linalg.conv_2d_nchw_fchw
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @other(%x: tensor<1x1x4x4xf32>, %start: tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %w = arith.constant dense<1.0> : tensor<2x1x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<2x1x2x2xf32>) -> tensor<2x1x2x2xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"}
      ins(%x, %s : tensor<1x1x4x4xf32>, tensor<2x1x2x2xf32, #csr>) outs(%start : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  return %y : tensor<1x2x3x3xf32>
}
}

// -----

// On a GPU that computes with them, factors of 16 bits, whose sums are float32.
// CHECK-LABEL: func.func @halves
// CHECK: linalg.generic {{.*}} ins(%arg0, %cst{{.*}} : tensor<1x2x2x2xf16>, tensor<4x2x1x1xf16>)
// CHECK-SAME: dlas.sparse = {block = 1 : i64, nonzeros = 8 : i64}
// CHECK-COUNT-2: arith.extf
// CHECK: arith.mulf {{.*}} : f32
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "gpu", kind = "gpu", elements = ["f16", "f32"]}} {
func.func @halves(%x: tensor<1x2x2x2xf16>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x2x1x1xf16>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x2x1x1xf16>) -> tensor<4x2x1x1xf16, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct"}
      ins(%x, %s : tensor<1x2x2x2xf16>, tensor<4x2x1x1xf16, #csr>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}
