// RUN: %dlas_opt %s --dlas-fold-batch-norm | FileCheck %s
// RUN: not %dlas_opt %s --dlas-fold-batch-norm=epsilon=1 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-fold-batch-norm` has no option `epsilon`; it has none

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#channel = affine_map<(d0, d1, d2, d3) -> (d1, 0, 0)>
#row = affine_map<(d0, d1, d2, d3) -> (d2)>
#all = affine_map<(d0, d1, d2, d3) -> ()>
#id2 = affine_map<(d0, d1) -> (d0, d1)>

// ((w x - 1) * 2 + 0.5, (w x - 2) * 10 + 1) is (2 w x - 1.5, 10 w x - 19).
// CHECK-LABEL: func.func @behind_convolution
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}[2.000000e+00]], {{.*}}[4.000000e+00]]], {{.*}}[3.000000e+01]], {{.*}}[4.000000e+01]]]]>
// CHECK: %[[Y:.*]] = linalg.conv_2d_nchw_fchw ins(%arg0, %[[W]]
// CHECK: %[[B:.*]] = arith.constant dense<[-1.500000e+00, -1.900000e+01]>
// CHECK: %[[R:.*]] = linalg.generic {{.*}} ins(%[[Y]], %[[B]]
// CHECK: arith.addf
// CHECK: return %[[R]]
func.func @behind_convolution(%x: tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]]> : tensor<2x2x1x1xf32>
  %mean = arith.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xf32>
  %scale = arith.constant dense<[[[2.0]], [[10.0]]]> : tensor<2x1x1xf32>
  %shift = arith.constant dense<[[[0.5]], [[1.0]]]> : tensor<2x1x1xf32>
  %empty = tensor.empty() : tensor<1x2x3x3xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x2x3x3xf32>, tensor<2x2x1x1xf32>) outs(%zeros : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y, %mean : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.subf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %2 = linalg.generic {indexing_maps = [#channel, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%scale, %1 : tensor<2x1x1xf32>, tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %3 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%2, %shift : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  return %3 : tensor<1x2x3x3xf32>
}

// The bias that torch-mlir puts into the accumulator leaves it, and is scaled with the rest: 3 - (w x + b) * 2.
// CHECK-LABEL: func.func @bias_in_the_accumulator
// CHECK-DAG: %[[W:.*]] = arith.constant dense<{{.*}}[-2.000000e+00]], {{.*}}[-4.000000e+00]]]> : tensor<2x1x1xf32>
// CHECK-DAG: %[[ZEROS:.*]] = linalg.fill
// CHECK: linalg.depthwise_conv_2d_nchw_chw {{.*}} outs(%[[ZEROS]]
// CHECK: arith.constant dense<[1.000000e+00, -1.700000e+01]>
// CHECK: arith.addf
// CHECK-NOT: linalg.generic {
// CHECK: return
func.func @bias_in_the_accumulator(%x: tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %w1 = arith.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xf32>
  %b = arith.constant dense<[1.0, 10.0]> : tensor<2xf32>
  %two = arith.constant dense<2.0> : tensor<f32>
  %three = arith.constant 3.0 : f32
  %empty = tensor.empty() : tensor<1x2x3x3xf32>
  %start = linalg.broadcast ins(%b : tensor<2xf32>) outs(%empty : tensor<1x2x3x3xf32>) dimensions = [0, 2, 3]
  %y = linalg.depthwise_conv_2d_nchw_chw ins(%x, %w1 : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%start : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #all, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y, %two : tensor<1x2x3x3xf32>, tensor<f32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %s = arith.mulf %a, %c : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.subf %three, %a : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  return %2 : tensor<1x2x3x3xf32>
}

// A fill that is not zero is a bias too: (w x + 1) * 2.
// CHECK-LABEL: func.func @filled_accumulator
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}[2.000000e+00, 4.000000e+00]{{.*}}> : tensor<1x2xf32>
// CHECK: linalg.matmul ins(%arg0, %[[W]]
// CHECK: arith.constant dense<2.000000e+00> : tensor<2xf32>
// CHECK: arith.addf
// CHECK-NOT: arith.mulf
func.func @filled_accumulator(%x: tensor<3x1xf32>) -> tensor<3x2xf32> {
  %one = arith.constant 1.0 : f32
  %two = arith.constant 2.0 : f32
  %w = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %empty = tensor.empty() : tensor<3x2xf32>
  %ones = linalg.fill ins(%one : f32) outs(%empty : tensor<3x2xf32>) -> tensor<3x2xf32>
  %y = linalg.matmul ins(%x, %w : tensor<3x1xf32>, tensor<1x2xf32>) outs(%ones : tensor<3x2xf32>) -> tensor<3x2xf32>
  %1 = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<3x2xf32>) outs(%empty : tensor<3x2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.mulf %a, %two : f32
    linalg.yield %s : f32
  } -> tensor<3x2xf32>
  return %1 : tensor<3x2xf32>
}

// What an unknown accumulator starts from would have to be scaled too, so nothing is folded. The same goes for a
// broadcast along another dimension than the channels.
// CHECK-LABEL: func.func @unknown_accumulator
// CHECK: linalg.conv_2d_nchw_fchw {{.*}} outs(%arg1
// CHECK: arith.mulf
// CHECK: linalg.conv_2d_nchw_fchw {{.*}} outs(%broadcasted
// CHECK: arith.mulf
func.func @unknown_accumulator(%x: tensor<1x2x2x2xf32>, %start: tensor<1x2x2x2xf32>) -> (tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>) {
  %w = arith.constant dense<[[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]]> : tensor<2x2x1x1xf32>
  %two = arith.constant 2.0 : f32
  %rows = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %empty = tensor.empty() : tensor<1x2x2x2xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x2x2x2xf32>, tensor<2x2x1x1xf32>) outs(%start : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y : tensor<1x2x2x2xf32>) outs(%empty : tensor<1x2x2x2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.mulf %a, %two : f32
    linalg.yield %s : f32
  } -> tensor<1x2x2x2xf32>
  %broadcasted = linalg.broadcast ins(%rows : tensor<2xf32>) outs(%empty : tensor<1x2x2x2xf32>) dimensions = [0, 1, 3]
  %z = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x2x2x2xf32>, tensor<2x2x1x1xf32>) outs(%broadcasted : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%z : tensor<1x2x2x2xf32>) outs(%empty : tensor<1x2x2x2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.mulf %a, %two : f32
    linalg.yield %s : f32
  } -> tensor<1x2x2x2xf32>
  return %1, %2 : tensor<1x2x2x2xf32>, tensor<1x2x2x2xf32>
}

// A grouped convolution's channels are whole behind the collapse of its groups.
// CHECK-LABEL: func.func @grouped
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}3.000000e+00{{.*}}8.000000e+00{{.*}}> : tensor<2x1x1x1x1xf32>
// CHECK: %[[Y:.*]] = linalg.conv_2d_ngchw_gfchw ins(%arg0, %[[W]]
// CHECK: %[[C:.*]] = tensor.collapse_shape %[[Y]]
// CHECK-NEXT: return %[[C]]
func.func @grouped(%x: tensor<1x2x1x3x3xf32>) -> tensor<1x2x3x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[[1.0]]]], [[[[2.0]]]]]> : tensor<2x1x1x1x1xf32>
  %scale = arith.constant dense<[[[3.0]], [[4.0]]]> : tensor<2x1x1xf32>
  %empty = tensor.empty() : tensor<1x2x1x3x3xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2x1x3x3xf32>) -> tensor<1x2x1x3x3xf32>
  %y = linalg.conv_2d_ngchw_gfchw ins(%x, %w : tensor<1x2x1x3x3xf32>, tensor<2x1x1x1x1xf32>) outs(%zeros : tensor<1x2x1x3x3xf32>) -> tensor<1x2x1x3x3xf32>
  %c = tensor.collapse_shape %y [[0], [1, 2], [3], [4]] : tensor<1x2x1x3x3xf32> into tensor<1x2x3x3xf32>
  %e = tensor.empty() : tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%c, %scale : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%e : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  return %1 : tensor<1x2x3x3xf32>
}

// Weights with the output channels of a group before the groups: the scale of channel 2 g + f goes to weight [f, g].
// CHECK-LABEL: func.func @groups_inside
// CHECK: %[[W:.*]] = arith.constant dense<{{.*}}1.000000e+00{{.*}}3.000000e+00{{.*}}2.000000e+00{{.*}}4.000000e+00{{.*}}> : tensor<2x2x1x1x1xf32>
// CHECK: linalg.conv_2d_ngchw_fgchw ins(%arg0, %[[W]]
func.func @groups_inside(%x: tensor<1x2x1x3x3xf32>) -> tensor<1x4x3x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<1.0> : tensor<2x2x1x1x1xf32>
  %scale = arith.constant dense<[[[1.0]], [[2.0]], [[3.0]], [[4.0]]]> : tensor<4x1x1xf32>
  %empty = tensor.empty() : tensor<1x2x2x3x3xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2x2x3x3xf32>) -> tensor<1x2x2x3x3xf32>
  %y = linalg.conv_2d_ngchw_fgchw ins(%x, %w : tensor<1x2x1x3x3xf32>, tensor<2x2x1x1x1xf32>) outs(%zeros : tensor<1x2x2x3x3xf32>) -> tensor<1x2x2x3x3xf32>
  %c = tensor.collapse_shape %y [[0], [1, 2], [3], [4]] : tensor<1x2x2x3x3xf32> into tensor<1x4x3x3xf32>
  %e = tensor.empty() : tensor<1x4x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%c, %scale : tensor<1x4x3x3xf32>, tensor<4x1x1xf32>) outs(%e : tensor<1x4x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x4x3x3xf32>
  return %1 : tensor<1x4x3x3xf32>
}

// Batch-norm before an activation, on a value that is read elsewhere too: one multiplication and one addition.
// (x - 1) / 2 * 4 + 3 is 2 x + 1.
// CHECK-LABEL: func.func @alone
// CHECK: %[[SCALE:.*]] = arith.constant dense<2.000000e+00> : tensor<2xf32>
// CHECK: %[[SHIFT:.*]] = arith.constant dense<1.000000e+00> : tensor<2xf32>
// CHECK: %[[Y:.*]] = linalg.generic {{.*}} ins(%arg0, %[[SCALE]], %[[SHIFT]]
// CHECK: %[[M:.*]] = arith.mulf
// CHECK-NEXT: arith.addf %[[M]]
// CHECK: return %[[Y]], %arg0
func.func @alone(%x: tensor<1x2x3x3xf32>) -> (tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>) {
  %mean = arith.constant dense<1.0> : tensor<2x1x1xf32>
  %two = arith.constant 2.0 : f32
  %four = arith.constant 4.0 : f32
  %three = arith.constant dense<3.0> : tensor<2x1x1xf32>
  %empty = tensor.empty() : tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x, %mean : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.subf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.divf %a, %two : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%2 : tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.mulf %a, %four : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %4 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%3, %three : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.addf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  return %4, %x : tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>
}

// Constants per row, products with themselves, and a chain whose middle is read elsewhere are left alone.
// CHECK-LABEL: func.func @others
// CHECK-COUNT-4: linalg.generic
func.func @others(%x: tensor<1x2x3x3xf32>) -> (tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>) {
  %rows = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  %two = arith.constant 2.0 : f32
  %empty = tensor.empty() : tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x, %rows : tensor<1x2x3x3xf32>, tensor<3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.mulf %a, %a : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%x : tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.addf %a, %two : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %4 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%3 : tensor<1x2x3x3xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.mulf %a, %two : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  return %2, %3, %4 : tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>
}

// In half precision the bias is of the accumulator's type, not of the weights'.
// CHECK-LABEL: func.func @wider_accumulator
// CHECK-DAG: arith.constant dense<{{.*}}> : tensor<2x1x1xbf16>
// CHECK-DAG: %[[ZEROS:.*]] = linalg.fill {{.*}} -> tensor<1x2x3x3xf32>
// CHECK: %[[Y:.*]] = linalg.depthwise_conv_2d_nchw_chw {{.*}} outs(%[[ZEROS]]
// CHECK: %[[B:.*]] = arith.constant dense<[1.500000e+00, 1.000000e+01]> : tensor<2xf32>
// CHECK: linalg.generic {{.*}} ins(%[[Y]], %[[B]] : tensor<1x2x3x3xf32>, tensor<2xf32>)
// CHECK: arith.truncf
func.func @wider_accumulator(%x: tensor<1x2x3x3xbf16>) -> tensor<1x2x3x3xbf16> {
  %w = arith.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xbf16>
  %b = arith.constant dense<[1.5, 10.0]> : tensor<2xf32>
  %empty = tensor.empty() : tensor<1x2x3x3xf32>
  %narrow = tensor.empty() : tensor<1x2x3x3xbf16>
  %biases = linalg.broadcast ins(%b : tensor<2xf32>) outs(%empty : tensor<1x2x3x3xf32>) dimensions = [0, 2, 3]
  %y = linalg.depthwise_conv_2d_nchw_chw ins(%x, %w : tensor<1x2x3x3xbf16>, tensor<2x1x1xbf16>) outs(%biases : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y : tensor<1x2x3x3xf32>) outs(%narrow : tensor<1x2x3x3xbf16>) {
  ^bb0(%a: f32, %o: bf16):
    %t = arith.truncf %a : f32 to bf16
    linalg.yield %t : bf16
  } -> tensor<1x2x3x3xbf16>
  return %1 : tensor<1x2x3x3xbf16>
}

// A bias is taken as its map reads it: element 0 for all channels, one element for two, from the last to the first.
// CHECK-LABEL: func.func @other_maps
// CHECK: linalg.matmul
// CHECK: arith.constant dense<[6.000000e+00, 5.000000e+00, 5.000000e+00, 4.000000e+00]>
// CHECK: arith.addf
// CHECK-NOT: linalg.generic {
// CHECK: return
func.func @other_maps(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = arith.constant dense<1.0> : tensor<4x4xf32>
  %b = arith.constant dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>
  %c = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x4xf32>
  %z = linalg.fill ins(%c : f32) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = linalg.matmul ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%z : tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = linalg.generic {indexing_maps = [#id2, affine_map<(d0, d1) -> (0)>, #id2], iterator_types = ["parallel", "parallel"]} ins(%y, %b : tensor<2x4xf32>, tensor<4xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%u: f32, %v: f32, %o: f32):
    %s = arith.addf %u, %v : f32
    linalg.yield %s : f32
  } -> tensor<2x4xf32>
  %2 = linalg.generic {indexing_maps = [#id2, affine_map<(d0, d1) -> (d1 floordiv 2)>, #id2], iterator_types = ["parallel", "parallel"]} ins(%1, %b : tensor<2x4xf32>, tensor<4xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%u: f32, %v: f32, %o: f32):
    %s = arith.addf %u, %v : f32
    linalg.yield %s : f32
  } -> tensor<2x4xf32>
  %3 = linalg.generic {indexing_maps = [#id2, affine_map<(d0, d1) -> (-d1 + 3)>, #id2], iterator_types = ["parallel", "parallel"]} ins(%2, %b : tensor<2x4xf32>, tensor<4xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%u: f32, %v: f32, %o: f32):
    %s = arith.addf %u, %v : f32
    linalg.yield %s : f32
  } -> tensor<2x4xf32>
  return %3 : tensor<2x4xf32>
}

// The collapse behind a grouped convolution that joins the batch with the groups leaves no channels to go by.
// CHECK-LABEL: func.func @another_collapse
// CHECK: tensor.collapse_shape {{.*}} {{\[\[}}0, 1], [2], [3], [4]]
// CHECK: linalg.generic
// CHECK: return
func.func @another_collapse(%x: tensor<1x2x3x2x2xf32>) -> tensor<2x2x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x2x3x1x1xf32>
  %b = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %c = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x2x2x2x2xf32>
  %z = linalg.fill ins(%c : f32) outs(%e : tensor<1x2x2x2x2xf32>) -> tensor<1x2x2x2x2xf32>
  %y = linalg.conv_2d_ngchw_gfchw ins(%x, %w : tensor<1x2x3x2x2xf32>, tensor<2x2x3x1x1xf32>) outs(%z : tensor<1x2x2x2x2xf32>) -> tensor<1x2x2x2x2xf32>
  %f = tensor.collapse_shape %y [[0, 1], [2], [3], [4]] : tensor<1x2x2x2x2xf32> into tensor<2x2x2x2xf32>
  %e1 = tensor.empty() : tensor<2x2x2x2xf32>
  %r = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1, d2, d3) -> (d1)>, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%f, %b : tensor<2x2x2x2xf32>, tensor<2xf32>) outs(%e1 : tensor<2x2x2x2xf32>) {
  ^bb0(%u: f32, %v: f32, %o: f32):
    %s = arith.mulf %u, %v : f32
    linalg.yield %s : f32
  } -> tensor<2x2x2x2xf32>
  return %r : tensor<2x2x2x2xf32>
}

// An infinite scale is for sums, not for each weight.
// CHECK-LABEL: func.func @infinite_scale
// CHECK: linalg.matmul
// CHECK: arith.mulf
// CHECK: return
func.func @infinite_scale(%x: tensor<2x4xf32>) -> tensor<2x4xf32> {
  %w = arith.constant dense<1.0> : tensor<4x4xf32>
  %b = arith.constant dense<0x7F800000> : tensor<4xf32>
  %c = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x4xf32>
  %z = linalg.fill ins(%c : f32) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %y = linalg.matmul ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%z : tensor<2x4xf32>) -> tensor<2x4xf32>
  %1 = linalg.generic {indexing_maps = [#id2, affine_map<(d0, d1) -> (d1)>, #id2], iterator_types = ["parallel", "parallel"]} ins(%y, %b : tensor<2x4xf32>, tensor<4xf32>) outs(%e : tensor<2x4xf32>) {
  ^bb0(%u: f32, %v: f32, %o: f32):
    %s = arith.mulf %u, %v : f32
    linalg.yield %s : f32
  } -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}

// Dynamic shapes stay as they are.
// CHECK-LABEL: func.func @dynamic
// CHECK: arith.addf
// CHECK: arith.mulf
// CHECK: return
func.func @dynamic(%x: tensor<2x?xf32>, %e: tensor<2x?xf32>) -> tensor<2x?xf32> {
  %two = arith.constant 2.0 : f32
  %1 = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x?xf32>) outs(%e : tensor<2x?xf32>) {
  ^bb0(%u: f32, %o: f32):
    %s = arith.addf %u, %two : f32
    linalg.yield %s : f32
  } -> tensor<2x?xf32>
  %2 = linalg.generic {indexing_maps = [#id2, #id2], iterator_types = ["parallel", "parallel"]} ins(%1 : tensor<2x?xf32>) outs(%e : tensor<2x?xf32>) {
  ^bb0(%u: f32, %o: f32):
    %s = arith.mulf %u, %two : f32
    linalg.yield %s : f32
  } -> tensor<2x?xf32>
  return %2 : tensor<2x?xf32>
}

// Of one pixel the accumulator may hold the bias as a constant.
// CHECK-LABEL: func.func @bias_of_one_pixel
// CHECK: %[[ZEROS:.*]] = linalg.fill
// CHECK: linalg.conv_2d_nchw_fchw {{.*}} outs(%[[ZEROS]]
// CHECK: arith.constant dense<[1.000000e+00, 2.000000e+00]>
// CHECK: arith.addf
func.func @bias_of_one_pixel(%x: tensor<1x3x1x1xf32>) -> tensor<1x2x1x1xf32> {
  %w = arith.constant dense<1.0> : tensor<2x3x1x1xf32>
  %b = arith.constant dense<[[[[1.0]], [[2.0]]]]> : tensor<1x2x1x1xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x3x1x1xf32>, tensor<2x3x1x1xf32>) outs(%b : tensor<1x2x1x1xf32>) -> tensor<1x2x1x1xf32>
  return %y : tensor<1x2x1x1xf32>
}

// Sums of more digits than the weights have: those are not rounded once more, but where the scale is a power of two.
// CHECK-LABEL: func.func @wider_than_the_weights
// CHECK-DAG: %[[TWICE:.*]] = arith.constant dense<{{.*}}2.000000e+00{{.*}}4.000000e+00{{.*}}> : tensor<2x1x1xbf16>
// CHECK-DAG: %[[ONCE:.*]] = arith.constant dense<{{.*}}1.007810e+00{{.*}}2.000000e+00{{.*}}> : tensor<2x1x1xbf16>
// CHECK: linalg.depthwise_conv_2d_nchw_chw ins(%arg0, %[[TWICE]]
// CHECK: linalg.depthwise_conv_2d_nchw_chw ins(%arg0, %[[ONCE]]
// CHECK: arith.mulf
func.func @wider_than_the_weights(%x: tensor<1x2x3x3xbf16>) -> (tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>) {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[1.0]], [[2.0]]]> : tensor<2x1x1xbf16>
  %v = arith.constant dense<[[[1.00781]], [[2.0]]]> : tensor<2x1x1xbf16>
  %two = arith.constant dense<2.0> : tensor<2x1x1xf32>
  %three = arith.constant dense<1.5> : tensor<2x1x1xf32>
  %empty = tensor.empty() : tensor<1x2x3x3xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %y = linalg.depthwise_conv_2d_nchw_chw ins(%x, %w : tensor<1x2x3x3xbf16>, tensor<2x1x1xbf16>) outs(%zeros : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %1 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y, %two : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  %z = linalg.depthwise_conv_2d_nchw_chw ins(%x, %v : tensor<1x2x3x3xbf16>, tensor<2x1x1xbf16>) outs(%zeros : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = linalg.generic {indexing_maps = [#id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%z, %three : tensor<1x2x3x3xf32>, tensor<2x1x1xf32>) outs(%empty : tensor<1x2x3x3xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %s = arith.mulf %a, %b : f32
    linalg.yield %s : f32
  } -> tensor<1x2x3x3xf32>
  return %1, %2 : tensor<1x2x3x3xf32>, tensor<1x2x3x3xf32>
}
