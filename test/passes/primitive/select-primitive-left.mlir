// Layers that no primitive knows are left to iree-compile, with a remark; one that is marked by hand is an error.
// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-select-primitive=primitive=spatial-pack,gemm

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x3x4x4xcomplex<f32>>, %w: tensor<2x3x1x1xcomplex<f32>>, %start: tensor<1x2x4x4xcomplex<f32>>,
             %a: tensor<?x4xf32>, %b: tensor<4x4xf32>, %c: tensor<?x4xf32>, %d: tensor<2x4xf32>, %e: tensor<2x4xf32>)
    -> (tensor<1x2x4x4xcomplex<f32>>, tensor<?x4xf32>, tensor<2x4xf32>) {
  // expected-remark@+1 {{no primitive does linalg.conv_2d_nchw_fchw on numbers of type complex<f32>; it is left to iree-compile}}
  %y = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x3x4x4xcomplex<f32>>, tensor<2x3x1x1xcomplex<f32>>) outs(%start : tensor<1x2x4x4xcomplex<f32>>) -> tensor<1x2x4x4xcomplex<f32>>
  // expected-remark@+1 {{no primitive does linalg.matmul on dynamic shapes; it is left to iree-compile}}
  %z = linalg.matmul ins(%a, %b : tensor<?x4xf32>, tensor<4x4xf32>) outs(%c : tensor<?x4xf32>) -> tensor<?x4xf32>
  // expected-remark@+1 {{no primitive does linalg.matmul with other indexing maps than its plain ones; it is left to iree-compile}}
  %t = linalg.matmul indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d2)>, affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>] ins(%d, %b : tensor<2x4xf32>, tensor<4x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y, %z, %t : tensor<1x2x4x4xcomplex<f32>>, tensor<?x4xf32>, tensor<2x4xf32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x3x4x4xcomplex<f32>>, %w: tensor<2x3x1x1xcomplex<f32>>, %start: tensor<1x2x4x4xcomplex<f32>>) -> tensor<1x2x4x4xcomplex<f32>> {
  // expected-error@+1 {{no primitive does linalg.conv_2d_nchw_fchw on numbers of type complex<f32>}}
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"} ins(%x, %w : tensor<1x3x4x4xcomplex<f32>>, tensor<2x3x1x1xcomplex<f32>>) outs(%start : tensor<1x2x4x4xcomplex<f32>>) -> tensor<1x2x4x4xcomplex<f32>>
  return %y : tensor<1x2x4x4xcomplex<f32>>
}
}

// -----

// Convolutions of other ranks are layers too. Products of batches of matrices are none.
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x3x8xf32>, %w: tensor<2x3x3xf32>, %start: tensor<1x2x6xf32>, %a: tensor<2x4x4xf32>, %b: tensor<2x4x4xf32>) -> (tensor<1x2x6xf32>, tensor<2x4x4xf32>) {
  // expected-remark@+1 {{no primitive does linalg.conv_1d_ncw_fcw; it is left to iree-compile}}
  %y = linalg.conv_1d_ncw_fcw ins(%x, %w : tensor<1x3x8xf32>, tensor<2x3x3xf32>) outs(%start : tensor<1x2x6xf32>) -> tensor<1x2x6xf32>
  %z = linalg.batch_matmul ins(%a, %a : tensor<2x4x4xf32>, tensor<2x4x4xf32>) outs(%b : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
  return %y, %z : tensor<1x2x6xf32>, tensor<2x4x4xf32>
}
}
