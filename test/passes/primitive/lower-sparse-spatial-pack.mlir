// RUN: sed 's/dlas.primitive =/dlas.options = {rows = 2}, dlas.primitive =/' %s > %t.two.mlir
// RUN: %dlas_opt %t.two.mlir --allow-unregistered-dialect --split-input-file --dlas-lower-sparse-spatial-pack --canonicalize --mlir-print-local-scope | FileCheck %s
// RUN: %dlas_opt %s --allow-unregistered-dialect --split-input-file --dlas-lower-sparse-spatial-pack --canonicalize --mlir-print-local-scope | FileCheck %s --check-prefix=CACHE
// RUN: sed 's/dlas.primitive =/dlas.options = {rows = 3}, dlas.primitive =/' %s > %t.three.mlir
// RUN: not %dlas_opt %t.three.mlir --allow-unregistered-dialect --split-input-file --dlas-lower-sparse-spatial-pack 2>&1 | FileCheck %s --check-prefix=DIVIDES
// RUN: not %dlas_opt %s --dlas-lower-sparse-spatial-pack=rows=1 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-lower-sparse-spatial-pack` has no option `rows`: it is an option of the primitive
// DIVIDES: error: 'sparse-spatial-pack{rows=3}' cannot do 2x2 3->4 @4x4: tiles of 3 rows do not divide 4

#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>

// Two tiles of two rows, and the row below them that the taps read too.
// CHECK-LABEL: func.func @tiles
// CHECK: %[[TILES:.*]] = linalg.generic {{.*}}(d0, d2, d1 * 2 + d3, d4 + d5)>
// CHECK-SAME: outs({{.*}} : tensor<1x2x3x3x1x5xf32>) attrs = {dlas.loops = ["n", "t", "c", "h", "p", "w"]}
// CHECK: linalg.generic {{.*}}(d0, d2 floordiv 2, d4, d2 mod 2 + d5, 0, d3 + d6)>
// CHECK-SAME: ins(%[[TILES]]
// CHECK-SAME: dlas.loops = ["n", "k", "oh", "ow", "c", "r", "s"], {{.*}}dlas.primitive = "sparse-spatial-pack", {{.*}}dlas.sparse = {block = 1 : i64, nonzeros = 48 : i64}

// All rows fit in the cache.
// CACHE-LABEL: func.func @tiles
// CACHE: outs({{.*}} : tensor<1x1x3x5x1x5xf32>)
// CACHE: (d0, 0, d4, d2 + d5, 0, d3 + d6)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @tiles(%x: tensor<1x3x5x5xf32>, %start: tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xf32> {
  %w = arith.constant dense<1.0> : tensor<4x3x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x3x2x2xf32>) -> tensor<4x3x2x2xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-spatial-pack", strides = dense<1> : tensor<2xi64>}
      ins(%x, %s : tensor<1x3x5x5xf32>, tensor<4x3x2x2xf32, #csr>) outs(%start : tensor<1x4x4x4xf32>) -> tensor<1x4x4x4xf32>
  return %y : tensor<1x4x4x4xf32>
}
}

// -----

// With a stride even and odd columns lie apart in a tile.
// CHECK-LABEL: func.func @strided
// CHECK: tensor.pad {{.*}} high[0, 0, 0, 1]
// CHECK: linalg.generic {{.*}}(d0, d2, d1 * 4 + d3, d5 * 2 + d4)>
// CHECK-SAME: outs({{.*}} : tensor<1x1x3x4x2x3xf32>)
// CHECK: (d0, 0, d4, d2 * 2 + d5, d6 mod 2, d3 + d6 floordiv 2)>
#csr = #sparse_tensor.encoding<{ map = (k, c, r, s) -> (k : dense, c : compressed(nonunique), r : singleton(nonunique), s : singleton) }>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @strided(%x: tensor<1x3x5x5xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<4x3x2x2xf32>
  %s = "sparse_tensor.convert"(%w) : (tensor<4x3x2x2xf32>) -> tensor<4x3x2x2xf32, #csr>
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "sparse-spatial-pack", strides = dense<2> : tensor<2xi64>}
      ins(%x, %s : tensor<1x3x5x5xf32>, tensor<4x3x2x2xf32, #csr>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
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
