// RUN: not %dlas_opt %s --allow-unregistered-dialect --split-input-file --dlas-lower-sparse-direct 2>&1 | FileCheck %s --check-prefix=REFUSE

// REFUSE: error: 'sparse-direct' cannot do 2x2 1->2 @3x3: its weights have no sparsity encoding
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @dense(%x: tensor<1x1x4x4xf32>, %start: tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %w = arith.constant dense<1.0> : tensor<2x1x2x2xf32>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct"}
      ins(%x, %w : tensor<1x1x4x4xf32>, tensor<2x1x2x2xf32>) outs(%start : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  return %y : tensor<1x2x3x3xf32>
}
}

// -----

// REFUSE: error: 'sparse-direct' cannot do 1x1 4->4 @2x2 groups 4: a depthwise convolution has too few weights for each pixel
#csr = #sparse_tensor.encoding<{ map = (g, r, s) -> (g : dense, r : compressed(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @depthwise(%x: tensor<1x4x2x2xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x1x1xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x1x1xf32>) -> tensor<4x1x1xf32, #csr>
  %y = linalg.depthwise_conv_2d_nchw_chw {dlas.primitive = "sparse-direct"}
      ins(%x, %s : tensor<1x4x2x2xf32>, tensor<4x1x1xf32, #csr>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}

// -----

// REFUSE: error: 'sparse-direct' cannot do 1x1 2->4 @2x2: weights of f16 have no sparse kernel
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @halves(%x: tensor<1x2x2x2xf16>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x2x1x1xf16>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x2x1x1xf16>) -> tensor<4x2x1x1xf16, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct"}
      ins(%x, %s : tensor<1x2x2x2xf16>, tensor<4x2x1x1xf16, #csr>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}
