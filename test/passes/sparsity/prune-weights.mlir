// RUN: %dlas_opt %s --dlas-prune-weights=sparsity=0.5 | FileCheck %s --check-prefix=GLOBAL
// RUN: %dlas_opt %s --dlas-prune-weights="sparsity=0.5 scope=layer" | FileCheck %s --check-prefix=LAYER
// RUN: %dlas_opt %s --dlas-prune-weights="sparsity=0.5 block=2 skip=last" | FileCheck %s --check-prefix=BLOCK
// RUN: %dlas_opt %s --dlas-prune-weights="n=1 m=2 exclude=sec*" | FileCheck %s --check-prefix=NM
// RUN: %dlas_opt %s --dlas-prune-weights=sparsity=0 | FileCheck %s --check-prefix=NOTHING
// RUN: not %dlas_opt %s --dlas-prune-weights=sparsity=1.5 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not %dlas_opt %s --dlas-prune-weights=sparsity=nan 2>&1 | FileCheck %s --check-prefix=NAN
// RUN: not %dlas_opt %s --dlas-prune-weights=scope=model 2>&1 | FileCheck %s --check-prefix=SCOPE
// RUN: not %dlas_opt %s --dlas-prune-weights=block=4 2>&1 | FileCheck %s --check-prefix=DIVIDES
// RUN: not %dlas_opt %s --dlas-prune-weights="n=2 m=2" 2>&1 | FileCheck %s --check-prefix=N-OF-M
// RUN: not %dlas_opt %s --dlas-prune-weights="n=1 m=2 block=2" 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not %dlas_opt %s --dlas-prune-weights=exclude=third 2>&1 | FileCheck %s --check-prefix=PATTERN
// RUN: not %dlas_opt %s --dlas-prune-weights=skip=first,last,linear 2>&1 | FileCheck %s --check-prefix=LEFT

// All weights together: those of the linear layer are the larger ones. What is not pruned stays as it is.
// GLOBAL-DAG: dense<{{\[\[}}{{\[\[}}0.000000e+00]], {{\[\[}}0.000000e+00]]], {{\[\[\[}}3.000000e-01]], {{\[\[}}0.000000e+00]]]]> : tensor<2x2x1x1xf32>
// GLOBAL-DAG: dense<{{\[\[}}1.000000e+00, 0.000000e+00], [3.000000e+00, 4.000000e+00]]> : tensor<2x2xf32>
// GLOBAL: linalg.matmul ins

// LAYER-DAG: dense<{{\[\[}}{{\[\[}}0.000000e+00]], {{\[\[}}-2.000000e-01]]], {{\[\[\[}}3.000000e-01]], {{\[\[}}0.000000e+00]]]]>
// LAYER-DAG: dense<{{\[\[}}0.000000e+00, 0.000000e+00], [3.000000e+00, 4.000000e+00]]>

// Blocks of two output channels. The last layer is left out.
// BLOCK-DAG: dense<{{\[\[}}{{\[\[}}1.000000e-01]], {{\[\[}}0.000000e+00]]], {{\[\[\[}}3.000000e-01]], {{\[\[}}0.000000e+00]]]]>
// BLOCK-DAG: dense<{{\[\[}}1.000000e+00, 0.00999999977], [3.000000e+00, 4.000000e+00]]>

// One of two input channels.
// NM-DAG: dense<{{\[\[}}{{\[\[}}0.000000e+00]], {{\[\[}}-2.000000e-01]]], {{\[\[\[}}3.000000e-01]], {{\[\[}}0.000000e+00]]]]>
// NM-DAG: dense<{{\[\[}}1.000000e+00, 0.00999999977], [3.000000e+00, 4.000000e+00]]>

// NOTHING-DAG: dense<{{\[\[}}{{\[\[}}1.000000e-01]], {{\[\[}}-2.000000e-01]]], {{\[\[\[}}3.000000e-01]], {{\[\[}}5.000000e-02]]]]>

// RANGE: error: `sparsity`: expected at most 1, found 1.5
// NAN: expected at least 0, found nan
// SCOPE: expected global or layer, found `model`
// DIVIDES: error: layer 'first': blocks of 4 do not divide its 2 output channels; leave it out with exclude or skip
// N-OF-M: error: 2:2 is no N:M structure: N is at least 1 and below M
// BOTH: error: block and N:M exclude one another
// PATTERN: error: exclude: the pattern `third` matches no layer; layers are first, second
// LEFT: error: no layer with constant weights is left to prune
func.func @f(%x: tensor<1x2x1x1xf32>, %s1: tensor<1x2x1x1xf32>, %s2: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w1 = arith.constant dense<[[[[0.1]], [[-0.2]]], [[[0.3]], [[0.05]]]]> : tensor<2x2x1x1xf32>
  %w2 = arith.constant dense<[[1.0, 0.01], [3.0, 4.0]]> : tensor<2x2xf32>
  %1 = linalg.conv_2d_nchw_fchw
      ins(%x, %w1 : tensor<1x2x1x1xf32>, tensor<2x2x1x1xf32>) outs(%s1 : tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32> loc("first")
  %flat = tensor.collapse_shape %1 [[0], [1, 2, 3]] : tensor<1x2x1x1xf32> into tensor<1x2xf32>
  %2 = linalg.matmul ins(%flat, %w2 : tensor<1x2xf32>, tensor<2x2xf32>) outs(%s2 : tensor<1x2xf32>) -> tensor<1x2xf32> loc("second")
  return %2 : tensor<1x2xf32>
}
