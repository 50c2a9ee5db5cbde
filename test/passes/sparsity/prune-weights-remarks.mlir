// RUN: %dlas_opt %s --dlas-prune-weights --verify-diagnostics --split-input-file | FileCheck %s

// Weights that are no constant are left out, with a remark; so are integers.
// CHECK-LABEL: func.func @argument
// CHECK: arith.constant dense<0.000000e+00> : tensor<2x2xf32>
func.func @argument(%x: tensor<1x2xf32>, %w: tensor<2x2xf32>, %s: tensor<1x2xf32>, %xi: tensor<1x2xi32>, %si: tensor<1x2xi32>) -> (tensor<1x2xf32>, tensor<1x2xi32>) {
  %c = arith.constant dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>
  %ci = arith.constant dense<[[1, 2], [3, 4]]> : tensor<2x2xi32>
  // expected-remark@+1 {{is not pruned: its weights are no floating-point constant}}
  %1 = linalg.matmul ins(%x, %w : tensor<1x2xf32>, tensor<2x2xf32>) outs(%s : tensor<1x2xf32>) -> tensor<1x2xf32>
  %2 = linalg.matmul ins(%1, %c : tensor<1x2xf32>, tensor<2x2xf32>) outs(%s : tensor<1x2xf32>) -> tensor<1x2xf32>
  // expected-remark@+1 {{is not pruned}}
  %3 = linalg.matmul ins(%xi, %ci : tensor<1x2xi32>, tensor<2x2xi32>) outs(%si : tensor<1x2xi32>) -> tensor<1x2xi32>
  return %2, %3 : tensor<1x2xf32>, tensor<1x2xi32>
}

// -----

func.func @not_a_number(%x: tensor<1x2xf32>, %s: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %c = arith.constant dense<[[1.0, 0x7FC00000], [3.0, 4.0]]> : tensor<2x2xf32>
  // expected-error@+1 {{its weights are not all finite numbers; nothing can be ranked}}
  %1 = linalg.matmul ins(%x, %c : tensor<1x2xf32>, tensor<2x2xf32>) outs(%s : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %1 : tensor<1x2xf32>
}
