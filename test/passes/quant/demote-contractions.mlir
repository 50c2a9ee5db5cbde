// RUN: %dlas_opt %s --split-input-file --dlas-demote-contractions=element=bf16 2>%t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t
// RUN: %dlas_opt %s --split-input-file --dlas-demote-contractions=element=tf32 | FileCheck %s --check-prefix=TF32
// RUN: not %dlas_opt %s --dlas-demote-contractions=element=f8 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`element`: {{.*}}f8
// RUN: not %dlas_opt %s --pass-pipeline='dlas-set-target{kind=gpu target=g},dlas-demote-contractions{element=f16}' 2>&1 | FileCheck %s --check-prefix=ELEMENTS
// ELEMENTS: error: g does not compute with f16: take a target that does, or a recipe in one of its types (f32)

// The input is rounded before it is padded, weights are constants of half the size, the sum stays as it is.
// tf32 is no type of tensors: the layer says that its operands may be rounded.
// TF32-LABEL: func.func @convolution
// TF32-NOT: arith.truncf
// TF32: linalg.conv_2d_nchw_fchw {dlas.rounded = "tf32"} {{.*}}tensor<1x4x6x6xf32>
// CHECK-LABEL: func.func @convolution
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<1x4x4x4xf32>) outs({{.*}} : tensor<1x4x4x4xbf16>)
// CHECK: arith.truncf
// CHECK: tensor.pad
// CHECK: tensor<1x4x4x4xbf16> to tensor<1x4x6x6xbf16>
// CHECK: linalg.conv_2d_nchw_fchw {{.*}}tensor<1x4x6x6xbf16>, tensor<2x4x3x3xbf16>) outs({{.*}} : tensor<1x2x4x4xf32>)
func.func @convolution(%x: tensor<1x4x4x4xf32>, %start: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<0.3> : tensor<2x4x3x3xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  } : tensor<1x4x4x4xf32> to tensor<1x4x6x6xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%p, %w : tensor<1x4x6x6xf32>, tensor<2x4x3x3xf32>) outs(%start : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// CHECK-LABEL: func.func @weights_that_are_computed
// CHECK: linalg.conv_2d_nchw_fchw {{.*}}tensor<1x4x4x4xf32>, tensor<2x4x1x1xf32>)
// REMARK: remark: layer {{.*}} stays in float32: its weights are not constant
func.func @weights_that_are_computed(%x: tensor<1x4x4x4xf32>, %w: tensor<2x4x1x1xf32>, %start: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %y = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x4x4x4xf32>, tensor<2x4x1x1xf32>) outs(%start : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// A constant that stands within the padding is made again for the narrow one.
// CHECK-LABEL: func.func @filler_within
// CHECK: linalg.yield
// CHECK: %[[FILLER:.*]] = arith.truncf
// CHECK: tensor.pad
// CHECK: tensor.yield %[[FILLER]] : bf16
// CHECK: tensor<1x4x4x4xbf16> to tensor<1x4x6x6xbf16>
func.func @filler_within(%x: tensor<1x4x4x4xf32>, %start: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %w = arith.constant dense<0.3> : tensor<2x4x3x3xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    %zero = arith.constant 0.0 : f32
    tensor.yield %zero : f32
  } : tensor<1x4x4x4xf32> to tensor<1x4x6x6xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%p, %w : tensor<1x4x6x6xf32>, tensor<2x4x3x3xf32>) outs(%start : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// Padding with something else than a constant is rounded behind it.
// CHECK-LABEL: func.func @filler_that_is_given
// CHECK: tensor.pad
// CHECK: tensor<1x4x4x4xf32> to tensor<1x4x6x6xf32>
// CHECK: arith.truncf
// CHECK: linalg.conv_2d_nchw_fchw {{.*}}tensor<1x4x6x6xbf16>, tensor<2x4x3x3xbf16>)
func.func @filler_that_is_given(%x: tensor<1x4x4x4xf32>, %filler: f32, %start: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %w = arith.constant dense<0.3> : tensor<2x4x3x3xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %filler : f32
  } : tensor<1x4x4x4xf32> to tensor<1x4x6x6xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%p, %w : tensor<1x4x6x6xf32>, tensor<2x4x3x3xf32>) outs(%start : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// Groups are a dimension of their own in front of a grouped convolution: the rounding stands before that is made.
// CHECK-LABEL: func.func @groups
// CHECK: %[[H:.*]] = linalg.generic {{.*}} ins(%arg0 : tensor<1x4x6x6xf32>) outs({{.*}} : tensor<1x4x6x6xbf16>)
// CHECK: tensor.expand_shape %[[H]] {{.*}} into tensor<1x2x2x6x6xbf16>
// CHECK: linalg.conv_2d_ngchw_gfchw {{.*}}tensor<1x2x2x6x6xbf16>, tensor<2x2x2x3x3xbf16>
func.func @groups(%x: tensor<1x4x6x6xf32>, %start: tensor<1x2x2x4x4xf32>) -> tensor<1x2x2x4x4xf32> {
  %w = arith.constant dense<0.3> : tensor<2x2x2x3x3xf32>
  %g = tensor.expand_shape %x [[0], [1, 2], [3], [4]] output_shape [1, 2, 2, 6, 6] : tensor<1x4x6x6xf32> into tensor<1x2x2x6x6xf32>
  %y = linalg.conv_2d_ngchw_gfchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%g, %w : tensor<1x2x2x6x6xf32>, tensor<2x2x2x3x3xf32>) outs(%start : tensor<1x2x2x4x4xf32>) -> tensor<1x2x2x4x4xf32>
  return %y : tensor<1x2x2x4x4xf32>
}
