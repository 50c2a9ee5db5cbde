// RUN: %dlas_opt %s --dlas-encode-sparsity="threshold=0.5 format=bsr block=2 exclude=dense" --dlas-generalize-encoded --canonicalize | FileCheck %s
// RUN: %dlas_opt %s --dlas-encode-sparsity="threshold=0.5 format=csr exclude=dense" --dlas-generalize-encoded | FileCheck %s --check-prefix=CSR
// RUN: not %dlas_opt %s --dlas-generalize-encoded=block=2 2>&1 | FileCheck %s --check-prefix=NAME

// The blocked dimension becomes the last one, of the weights and of the loops.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d3, d1 * 2 + d4, d2 + d5)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d3, d4, d5, d6)>
// CHECK-DAG: #[[Y:.*]] = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d6, d1, d2)>
// CHECK: linalg.transpose ins(%{{.*}} : tensor<4x2x1x2xf32>) {{.*}} permutation = [1, 2, 3, 0]
// CHECK: %[[S:.*]] = "sparse_tensor.convert"(%{{.*}}) : (tensor<2x1x2x4xf32>) -> tensor<2x1x2x4xf32, #sparse_tensor.encoding<{ map = (c, r, s, k) -> (k floordiv 2 : dense, c : compressed, r : compressed, s : compressed, k mod 2 : dense) }>>
// CHECK: linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[Y]]], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "reduction", "parallel"]} ins(%{{.*}}, %[[S]]
// CHECK-SAME: dlas.loops = ["n", "oh", "ow", "c", "r", "s", "k"]
// Layers without an encoding stay.
// CHECK: linalg.matmul

// CSR-NOT: transpose
// CSR: tensor<4x2x1x2xf32, #sparse_tensor.encoding<{ map = (k, c, r, s)
// CSR: linalg.generic

// NAME: error: `dlas-generalize-encoded` has no option `block`; it has none
func.func @f(%x: tensor<1x2x3x2xf32>, %s1: tensor<1x4x2x1xf32>, %s2: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w1 = arith.constant dense<[[[[1.0, 0.0]], [[2.0, 0.0]]], [[[3.0, 0.0]], [[4.0, 0.0]]], [[[5.0, 0.0]], [[6.0, 0.0]]], [[[7.0, 0.0]], [[8.0, 0.0]]]]> : tensor<4x2x1x2xf32>
  %w2 = arith.constant dense<1.0> : tensor<8x2xf32>
  %1 = linalg.conv_2d_nchw_fchw {strides = dense<[2, 1]> : vector<2xi64>}
      ins(%x, %w1 : tensor<1x2x3x2xf32>, tensor<4x2x1x2xf32>) outs(%s1 : tensor<1x4x2x1xf32>) -> tensor<1x4x2x1xf32> loc("conv")
  %flat = tensor.collapse_shape %1 [[0], [1, 2, 3]] : tensor<1x4x2x1xf32> into tensor<1x8xf32>
  %2 = linalg.matmul ins(%flat, %w2 : tensor<1x8xf32>, tensor<8x2xf32>) outs(%s2 : tensor<1x2xf32>) -> tensor<1x2xf32> loc("dense")
  return %2 : tensor<1x2xf32>
}
