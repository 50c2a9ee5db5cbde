// What the lowering passes say when an attribute that was written by hand names a primitive that cannot do the layer.
// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-lower-direct --dlas-lower-gemm --dlas-lower-spatial-pack --dlas-lower-grouped-spatial-pack --dlas-lower-depthwise --dlas-lower-implicit-gemm

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %start: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'direct' cannot do 1x1 4->4 @1x1: a linear layer has no spatial dimensions}}
  %y = linalg.matmul {dlas.primitive = "direct"} ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%start : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %start: tensor<2x4xf32>) -> tensor<2x4xf32> {
  // expected-error@+1 {{'spatial-pack' cannot do 1x1 4->4 @1x1: a linear layer has no spatial dimensions}}
  %y = linalg.matmul {dlas.primitive = "spatial-pack"} ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%start : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x2x4x3x3xf32>, %w: tensor<2x3x4x1x1xf32>, %start: tensor<1x2x3x3x3xf32>) -> tensor<1x2x3x3x3xf32> {
  // expected-error@+1 {{'gemm' cannot do 1x1 8->6 @3x3 groups 2: 3 output channels in a group make no panel}}
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "gemm"}
      ins(%x, %w : tensor<1x2x4x3x3xf32>, tensor<2x3x4x1x1xf32>) outs(%start : tensor<1x2x3x3x3xf32>) -> tensor<1x2x3x3x3xf32>
  return %y : tensor<1x2x3x3x3xf32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x2x4x3x3xf32>, %w: tensor<2x3x4x1x1xf32>, %start: tensor<1x2x3x3x3xf32>) -> tensor<1x2x3x3x3xf32> {
  // expected-error@+1 {{'spatial-pack' cannot do 1x1 8->6 @3x3 groups 2: it has groups (see grouped-spatial-pack and depthwise)}}
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "spatial-pack"}
      ins(%x, %w : tensor<1x2x4x3x3xf32>, tensor<2x3x4x1x1xf32>) outs(%start : tensor<1x2x3x3x3xf32>) -> tensor<1x2x3x3x3xf32>
  return %y : tensor<1x2x3x3x3xf32>
}
}

// -----

// Zeros between the groups of a band would meet what is infinite in another group.
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x2x4x3x3xf32>, %w: tensor<2x3x4x1x1xf32>, %start: tensor<1x2x3x3x3xf32>) -> tensor<1x2x3x3x3xf32> {
  // expected-error@+1 {{'grouped-spatial-pack' cannot do 1x1 8->6 @3x3 groups 2: groups of 4->3 channels straddle blocks of 4}}
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x4x3x3xf32>, tensor<2x3x4x1x1xf32>) outs(%start : tensor<1x2x3x3x3xf32>) -> tensor<1x2x3x3x3xf32>
  return %y : tensor<1x2x3x3x3xf32>
}
}

// -----

// Of integers bands are built, from the weights' values.
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x2x4x3x3xi32>, %w: tensor<2x3x4x1x1xi32>, %start: tensor<1x2x3x3x3xi32>) -> tensor<1x2x3x3x3xi32> {
  // expected-error@+1 {{'grouped-spatial-pack' cannot do 1x1 8->6 @3x3 groups 2: groups of 4->3 channels need constant weights}}
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x4x3x3xi32>, tensor<2x3x4x1x1xi32>) outs(%start : tensor<1x2x3x3x3xi32>) -> tensor<1x2x3x3x3xi32>
  return %y : tensor<1x2x3x3x3xi32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x4x3x3xf32>, %w: tensor<4x4x2x2xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  // expected-error@+1 {{'grouped-spatial-pack' cannot do 2x2 4->4 @2x2: it has no groups}}
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x4x3x3xf32>, tensor<4x4x2x2xf32>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x4x3x3xf32>, %w: tensor<4x4x2x2xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  // expected-error@+1 {{'depthwise' cannot do 2x2 4->4 @2x2: it is not depthwise}}
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "depthwise"}
      ins(%x, %w : tensor<1x4x3x3xf32>, tensor<4x4x2x2xf32>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}

// -----

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<1x4x1x3x3xf32>, %w: tensor<4x3x1x2x2xf32>, %start: tensor<1x4x3x2x2xf32>) -> tensor<1x4x3x2x2xf32> {
  // expected-error@+1 {{'depthwise' cannot do 2x2 4->12 @2x2 groups 4: its channel multiplier 3 does not divide 4}}
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "depthwise"}
      ins(%x, %w : tensor<1x4x1x3x3xf32>, tensor<4x3x1x2x2xf32>) outs(%start : tensor<1x4x3x2x2xf32>) -> tensor<1x4x3x2x2xf32>
  return %y : tensor<1x4x3x2x2xf32>
}
}

// -----

module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @f(%x: tensor<1x4x3x3xf32>, %w: tensor<4x4x2x2xf32>, %start: tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32> {
  // expected-error@+1 {{'implicit-gemm' cannot do 2x2 4->4 @2x2: gpu has no products of small matrices (see direct and gemm)}}
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "implicit-gemm"}
      ins(%x, %w : tensor<1x4x3x3xf32>, tensor<4x4x2x2xf32>) outs(%start : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  return %y : tensor<1x4x2x2xf32>
}
}

// -----

// expected-error@+1 {{the module has no `dlas.target` attribute: run dlas-set-target{target=...} first}}
module {
}
