// RUN: %dlas_opt %s --dlas-select-primitive=primitive=sparse-direct,direct | FileCheck %s
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=sparse-direct,direct break-even=false" | FileCheck %s --check-prefix=ALWAYS
// RUN: %dlas_opt %s --dlas-select-primitive="primitive=sparse-direct fallback=direct" 2>&1 | FileCheck %s --check-prefix=FALLBACK
// RUN: %dlas_opt %s --dlas-select-primitive=primitive=sparse-direct,direct --dlas-lower-direct | FileCheck %s --check-prefix=DENSE
// RUN: not %dlas_opt %s --dlas-select-primitive=break-even=70 2>&1 | FileCheck %s --check-prefix=OPTION

// The target's break-even points are 70 % for CSR and 30 % for blocks of four.
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "dense", {{.*}}dlas.primitive = "direct"}
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "below", {{.*}}dlas.primitive = "direct", dlas.sparsity
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "above", dlas.primitive = "sparse-direct", dlas.sparsity
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "blocks", dlas.primitive = "sparse-direct", dlas.sparsity
// Zeros that nobody has counted, and choices that were made by hand.
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "not.counted", dlas.primitive = "sparse-direct"}
// CHECK: linalg.conv_2d_nchw_fchw {dlas.layer = "by.hand", dlas.primitive = "sparse-direct", dlas.sparsity

// ALWAYS: linalg.conv_2d_nchw_fchw {dlas.layer = "dense", {{.*}}dlas.primitive = "direct"}
// ALWAYS: linalg.conv_2d_nchw_fchw {dlas.layer = "below", dlas.primitive = "sparse-direct"

// FALLBACK: remark: layer 'dense' (1x1 4->4 @2x2): 'sparse-direct' does not apply: its weights have no sparsity encoding that is known; 'direct' is taken instead
// FALLBACK: remark: layer 'below' (1x1 4->4 @2x2): 'sparse-direct' does not apply: 'direct' is estimated to be faster (60% zeros, csr pays off from 70% on); 'direct' is taken instead

// A dense primitive leaves the encoding behind.
// DENSE-LABEL: func.func @f
// DENSE-COUNT-4: sparse_tensor.convert
// DENSE-NOT: sparse_tensor.convert

// RUN: sed s/0.6/true/ %s > %t.mlir
// RUN: not %dlas_opt %t.mlir --dlas-select-primitive=primitive=sparse-direct,direct 2>&1 | FileCheck %s --check-prefix=NUMBER
// NUMBER: error: `dlas.sparsity` is the share of zeros, a number from 0 to 1; found true

// OPTION: error: `break-even`: expected true or false, found `70`
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
#bsr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k floordiv 4 : dense, c : compressed, r : compressed, s : compressed, k mod 4 : dense) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 16 : i64, csr_break_even = 70 : i64, bsr4_break_even = 30 : i64}} {
func.func @f(%x: tensor<1x4x2x2xf32>, %o: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x4x1x1xf32>
  %c1 = "sparse_tensor.convert"(%w) : (tensor<4x4x1x1xf32>) -> tensor<4x4x1x1xf32, #csr>
  %c2 = "sparse_tensor.convert"(%w) : (tensor<4x4x1x1xf32>) -> tensor<4x4x1x1xf32, #csr>
  %c3 = "sparse_tensor.convert"(%w) : (tensor<4x4x1x1xf32>) -> tensor<4x4x1x1xf32, #bsr>
  %c4 = "sparse_tensor.convert"(%w) : (tensor<4x4x1x1xf32>) -> tensor<4x4x1x1xf32, #csr>
  %c5 = "sparse_tensor.convert"(%w) : (tensor<4x4x1x1xf32>) -> tensor<4x4x1x1xf32, #csr>
  %1 = linalg.conv_2d_nchw_fchw
      ins(%x, %w : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32>) outs(%o : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> loc("dense")
  %2 = linalg.conv_2d_nchw_fchw {dlas.sparsity = 0.6}
      ins(%1, %c1 : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32, #csr>) outs(%o : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> loc("below")
  %3 = linalg.conv_2d_nchw_fchw {dlas.sparsity = 0.7}
      ins(%2, %c2 : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32, #csr>) outs(%o : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> loc("above")
  %4 = linalg.conv_2d_nchw_fchw {dlas.sparsity = 0.6}
      ins(%3, %c3 : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32, #bsr>) outs(%o : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> loc("blocks")
  %5 = linalg.conv_2d_nchw_fchw
      ins(%4, %c4 : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32, #csr>) outs(%o : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> loc("not.counted")
  %6 = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-direct", dlas.sparsity = 0.1}
      ins(%5, %c5 : tensor<1x4x2x2xf32>, tensor<4x4x1x1xf32, #csr>) outs(%o : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> loc("by.hand")
  return %6 : tensor<1x4x2x2xf32>
}
}
