// RUN: %dlas_opt %s --dlas-encode-sparsity=threshold=0.5 | FileCheck %s
// RUN: %dlas_opt %s --dlas-encode-sparsity=threshold=0.5 | %dlas_opt --dlas-encode-sparsity --dlas-fold-constants --dlas-fold-batch-norm --canonicalize --cse | FileCheck %s
// RUN: %dlas_opt %s --dlas-encode-sparsity="threshold=0.5 format=csr depthwise=true" | FileCheck %s --check-prefix=CSR
// RUN: %dlas_opt %s --dlas-encode-sparsity="threshold=0.5 format=bsr block=2 exclude=linear" | FileCheck %s --check-prefix=BSR
// RUN: %dlas_opt %s --dlas-encode-sparsity="format=nm n=1 m=2" | FileCheck %s --check-prefix=NM
// RUN: %dlas_opt %s --dlas-encode-sparsity="threshold=0.5 verbose=true" 2>&1 | FileCheck %s --check-prefix=VERBOSE
// RUN: %dlas_opt %s --dlas-encode-sparsity=threshold=0.9 | FileCheck %s --check-prefix=DENSE
// RUN: not %dlas_opt %s --dlas-encode-sparsity="threshold=0.5 format=bsr block=4 exclude=linear" 2>&1 | FileCheck %s --check-prefix=DIVIDES
// RUN: not %dlas_opt %s --dlas-encode-sparsity=threshold=2 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not %dlas_opt %s --dlas-encode-sparsity=format=coo 2>&1 | FileCheck %s --check-prefix=FORMAT
// RUN: not %dlas_opt %s --dlas-encode-sparsity="format=nm n=4" 2>&1 | FileCheck %s --check-prefix=N-OF-M
// RUN: not %dlas_opt %s --dlas-encode-sparsity=exclude=other 2>&1 | FileCheck %s --check-prefix=PATTERN

// Blocks of two where they are there, else single weights. The depthwise layer stays dense.
// CHECK: %[[BLOCKS:.*]] = "sparse_tensor.convert"(%{{.*}}) : (tensor<2x2x1x2xf32>) -> tensor<2x2x1x2xf32, #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k floordiv 2 : dense, c : compressed, r : compressed, s : compressed, k mod 2 : dense) }>>
// CHECK: linalg.conv_2d_nchw_fchw {dlas.sparsity = 5.000000e-01 : f64} ins(%{{.*}}, %[[BLOCKS]]
// CHECK: linalg.depthwise_conv_2d_nchw_chw ins
// CHECK: %[[SINGLE:.*]] = "sparse_tensor.convert"(%{{.*}}) : (tensor<2x3xf32>) -> tensor<2x3xf32, #sparse_tensor.encoding<{ map = (c, k) -> (k : dense, c : compressed) }>>
// CHECK: linalg.matmul {dlas.sparsity = 6.667000e-01 : f64} ins(%{{.*}}, %[[SINGLE]]

// CSR: tensor<2x2x1x2xf32, #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>>
// CSR: linalg.conv_2d_nchw_fchw {dlas.sparsity = 5.000000e-01 : f64}
// CSR: tensor<2x1x1xf32, #sparse_tensor.encoding<{ map = (g, r, s) -> (g : dense, r : compressed(nonunique), s : singleton) }>>
// CSR: linalg.depthwise_conv_2d_nchw_chw {dlas.sparsity = 5.000000e-01 : f64}
// CSR: linalg.matmul {dlas.sparsity

// BSR: linalg.conv_2d_nchw_fchw {dlas.sparsity
// BSR-NOT: convert
// BSR: linalg.matmul ins

// One of two input channels is zero in the linear layer, in the convolution both are at once.
// NM-NOT: convert
// NM: linalg.conv_2d_nchw_fchw ins
// NM: tensor<2x3xf32, #sparse_tensor.encoding<{ map = (c, k) -> (k : dense, c floordiv 2 : dense, c mod 2 : structured[1, 2]) }>>
// NM: linalg.matmul {dlas.sparsity = 6.667000e-01 : f64}

// VERBOSE: remark: layer 'conv' is bsr 2x1: 50.0% of its 2x1 blocks are zero
// VERBOSE: remark: layer 'dense' stays dense, not csr: 0.0% of its weights are zero
// VERBOSE: remark: layer 'linear' is csr: 66.7% of its weights are zero

// DENSE-NOT: sparse_tensor

// DIVIDES: error: layer 'conv' cannot be bsr 4x1: blocks of 4 do not divide its 2 output channels; leave it out with exclude
// RANGE: expected at most 1, found 2
// FORMAT: expected auto or csr or bsr or nm, found `coo`
// N-OF-M: error: 4:4 is no N:M structure: N is below M
// PATTERN: error: exclude: the pattern `other` matches no layer; layers are conv, depthwise, dense, linear
func.func @f(%x: tensor<1x2x1x2xf32>, %s1: tensor<1x2x1x1xf32>, %s2: tensor<1x2xf32>, %s3: tensor<1x3xf32>) -> tensor<1x3xf32> {
  %w1 = arith.constant dense<[[[[1.0, 0.0]], [[2.0, 0.0]]], [[[3.0, 0.0]], [[4.0, 0.0]]]]> : tensor<2x2x1x2xf32>
  %w2 = arith.constant dense<[[[1.0]], [[0.0]]]> : tensor<2x1x1xf32>
  %w3 = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %w4 = arith.constant dense<[[1.0, 0.0, 0.0], [0.0, 4.0, 0.0]]> : tensor<2x3xf32>
  %1 = linalg.conv_2d_nchw_fchw
      ins(%x, %w1 : tensor<1x2x1x2xf32>, tensor<2x2x1x2xf32>) outs(%s1 : tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32> loc("conv")
  %2 = linalg.depthwise_conv_2d_nchw_chw
      ins(%1, %w2 : tensor<1x2x1x1xf32>, tensor<2x1x1xf32>) outs(%s1 : tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32> loc("depthwise")
  %flat = tensor.collapse_shape %2 [[0], [1, 2, 3]] : tensor<1x2x1x1xf32> into tensor<1x2xf32>
  %3 = linalg.matmul ins(%flat, %w3 : tensor<1x2xf32>, tensor<2x2xf32>) outs(%s2 : tensor<1x2xf32>) -> tensor<1x2xf32> loc("dense")
  %4 = linalg.matmul ins(%3, %w4 : tensor<1x2xf32>, tensor<2x3xf32>) outs(%s3 : tensor<1x3xf32>) -> tensor<1x3xf32> loc("linear")
  return %4 : tensor<1x3xf32>
}
