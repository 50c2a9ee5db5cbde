// A layer whose primitive no pass of the pipeline has lowered.
func.func @f(%x: tensor<1x4x3x3xf32>, %w: tensor<4x4x2x2xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.layer = "conv1", dlas.primitive = "fft"}
      ins(%x, %w : tensor<1x4x3x3xf32>, tensor<4x4x2x2xf32>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
