// A residual block as torch-mlir writes it, batch-norm already folded: relu(conv(relu(conv(x))) + x), 64 channels @56.
// docs/architecture.md follows it: dlas-opt docs/block.mlir --preset=x86-64-avx512/auto --mlir-print-ir-after-change
#image = affine_map<(n, k, h, w) -> (n, k, h, w)>
#channel = affine_map<(n, k, h, w) -> (k)>
func.func @main(%x: tensor<1x64x56x56xf32>) -> tensor<1x64x56x56xf32> {
  %weights1 = arith.constant dense<0.01> : tensor<64x64x3x3xf32>
  %weights2 = arith.constant dense<0.02> : tensor<64x64x3x3xf32>
  %bias = arith.constant dense<0.1> : tensor<64xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<1x64x56x56xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x64x56x56xf32>) -> tensor<1x64x56x56xf32>

  %padded1 = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x64x56x56xf32> to tensor<1x64x58x58xf32>
  %conv1 = linalg.conv_2d_nchw_fchw ins(%padded1, %weights1 : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>)
      outs(%zeros : tensor<1x64x56x56xf32>) -> tensor<1x64x56x56xf32> loc("conv1")
  %relu1 = linalg.generic {indexing_maps = [#image, #channel, #image],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%conv1, %bias : tensor<1x64x56x56xf32>, tensor<64xf32>) outs(%empty : tensor<1x64x56x56xf32>) {
  ^bb0(%value: f32, %b: f32, %old: f32):
    %sum = arith.addf %value, %b : f32
    %relu = arith.maximumf %sum, %zero : f32
    linalg.yield %relu : f32
  } -> tensor<1x64x56x56xf32>

  %padded2 = tensor.pad %relu1 low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x64x56x56xf32> to tensor<1x64x58x58xf32>
  %conv2 = linalg.conv_2d_nchw_fchw ins(%padded2, %weights2 : tensor<1x64x58x58xf32>, tensor<64x64x3x3xf32>)
      outs(%zeros : tensor<1x64x56x56xf32>) -> tensor<1x64x56x56xf32> loc("conv2")
  %result = linalg.generic {indexing_maps = [#image, #channel, #image, #image],
      iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%conv2, %bias, %x : tensor<1x64x56x56xf32>, tensor<64xf32>, tensor<1x64x56x56xf32>)
      outs(%empty : tensor<1x64x56x56xf32>) {
  ^bb0(%value: f32, %b: f32, %shortcut: f32, %old: f32):
    %sum = arith.addf %value, %b : f32
    %added = arith.addf %sum, %shortcut : f32
    %relu = arith.maximumf %added, %zero : f32
    linalg.yield %relu : f32
  } -> tensor<1x64x56x56xf32>
  return %result : tensor<1x64x56x56xf32>
}
