// RUN: %dlas_opt %s --split-input-file --dlas-lower-depthwise --mlir-print-local-scope | FileCheck %s
// RUN: not %dlas_opt %s --dlas-lower-depthwise=block=8 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-lower-depthwise` has no option `block`: it is an option of the primitive

// One block of channels per step: lane k of an output block reads lane k of the input block.
// CHECK-LABEL: func.func @plain
// CHECK: linalg.pack {{.*}} padding_value{{.*}} inner_dims_pos = [1, 0] inner_tiles = [1, 4] {{.*}} tensor<6x1x3x3xf32> -> tensor<2x1x3x3x1x4xf32>
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2 * 2 + d6, d3 * 2 + d7, d4)>
// CHECK-SAME: (d1, d5, d6, d7, d8, d4)>
// CHECK-SAME: dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "r", "s", "c"], {{.*}}dlas.primitive = "depthwise"
// CHECK: linalg.unpack {{.*}} -> tensor<1x6x2x2xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @plain(%x: tensor<1x6x5x5xf32>, %w: tensor<6x3x3xf32>, %start: tensor<1x6x2x2xf32>) -> tensor<1x6x2x2xf32> {
  %y = linalg.depthwise_conv_2d_nchw_chw {dlas.primitive = "depthwise", strides = dense<2> : vector<2xi64>}
      ins(%x, %w : tensor<1x6x5x5xf32>, tensor<6x3x3xf32>) outs(%start : tensor<1x6x2x2xf32>) -> tensor<1x6x2x2xf32>
  return %y : tensor<1x6x2x2xf32>
}
}

// -----

// With a channel multiplier of two, output block kb lies in half kb % 2 of input block kb / 2, and each of its lanes is
// shared by two channels.
// CHECK-LABEL: func.func @multiplier
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1 floordiv 2, d2 + d6, d3 + d7, (d1 mod 2) * 2 + d4 floordiv 2)>
// CHECK-SAME: tensor<1x2x3x3x4xf32>, tensor<3x1x3x3x1x4xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @multiplier(%x: tensor<1x6x1x3x3xf32>, %w: tensor<6x2x1x3x3xf32>, %start: tensor<1x6x2x1x1xf32>) -> tensor<1x6x2x1x1xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "depthwise"}
      ins(%x, %w : tensor<1x6x1x3x3xf32>, tensor<6x2x1x3x3xf32>) outs(%start : tensor<1x6x2x1x1xf32>) -> tensor<1x6x2x1x1xf32>
  return %y : tensor<1x6x2x1x1xf32>
}
}

// -----

// The channels-last form with a multiplier dimension.
// CHECK-LABEL: func.func @channels_last
// CHECK: linalg.generic {{.*}} dlas.primitive = "depthwise"
// CHECK: linalg.unpack {{.*}} -> tensor<1x8x2x2xf32>
// CHECK: tensor.expand_shape {{.*}} into tensor<1x4x2x2x2xf32>
// CHECK: linalg.transpose {{.*}} permutation = [0, 3, 4, 1, 2]
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @channels_last(%x: tensor<1x4x4x4xf32>, %w: tensor<3x3x4x2xf32>, %start: tensor<1x2x2x4x2xf32>) -> tensor<1x2x2x4x2xf32> {
  %y = linalg.depthwise_conv_2d_nhwc_hwcm {dlas.primitive = "depthwise"}
      ins(%x, %w : tensor<1x4x4x4xf32>, tensor<3x3x4x2xf32>) outs(%start : tensor<1x2x2x4x2xf32>) -> tensor<1x2x2x4x2xf32>
  return %y : tensor<1x2x2x4x2xf32>
}
}

// -----

// Codes are multiplied as floats, with the sign that they have; the sums start from what they are to start from.
// CHECK-LABEL: func.func @codes
// CHECK: linalg.generic
// CHECK: arith.sitofp {{.*}} : i8 to f32
// CHECK: arith.sitofp {{.*}} : i8 to f32
// CHECK: linalg.generic {{.*}}dlas.loops = ["n", "kb", "oh", "ow", "k"]
// CHECK: %[[SUM:.*]] = arith.fptosi
// CHECK: arith.addi %{{.*}}, %[[SUM]] : i32
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @codes(%x: tensor<1x4x3x3xi8>, %w: tensor<4x3x3xi8>) -> tensor<1x4x1x1xi32> {
  %c = arith.constant 5 : i32
  %e = tensor.empty() : tensor<1x4x1x1xi32>
  %z = linalg.fill ins(%c : i32) outs(%e : tensor<1x4x1x1xi32>) -> tensor<1x4x1x1xi32>
  %r = linalg.depthwise_conv_2d_nchw_chw {dlas.primitive = "depthwise"} ins(%x, %w : tensor<1x4x3x3xi8>, tensor<4x3x3xi8>) outs(%z : tensor<1x4x1x1xi32>) -> tensor<1x4x1x1xi32>
  return %r : tensor<1x4x1x1xi32>
}
}
