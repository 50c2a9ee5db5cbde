// RUN: %dlas_opt %s --dlas-encode-sparsity=threshold=0.5 2>&1 | FileCheck %s
// RUN: %dlas_opt %s --dlas-encode-sparsity=threshold=0.7 2>&1 | FileCheck %s --check-prefix=FEW

// Integers stay dense, which is said where they have as many zeros as floats would be encoded for.
// CHECK: remark: layer 'codes' stays dense: 66.7% of its weights are zero, and there are no sparse kernels of i8
// CHECK-NOT: sparse_tensor
// CHECK: linalg.matmul
// CHECK-NOT: dlas.sparsity

// FEW-NOT: remark
// FEW: linalg.matmul
func.func @f(%x: tensor<1x2xi8>, %s: tensor<1x3xi32>) -> tensor<1x3xi32> {
  %w = arith.constant dense<[[1, 0, 0], [0, 4, 0]]> : tensor<2x3xi8>
  %1 = linalg.matmul ins(%x, %w : tensor<1x2xi8>, tensor<2x3xi8>) outs(%s : tensor<1x3xi32>) -> tensor<1x3xi32> loc("codes")
  return %1 : tensor<1x3xi32>
}
