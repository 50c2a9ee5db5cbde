// RUN: %dlas_opt %s --split-input-file --dlas-lower-grouped-spatial-pack --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/dlas.primitive =/dlas.options = {blok = 4}, dlas.primitive =/' %s > %t.blok.mlir
// RUN: not %dlas_opt %t.blok.mlir --split-input-file --dlas-lower-grouped-spatial-pack 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas.options`: 'grouped-spatial-pack' has no option `blok`; it has block

// Groups of whole blocks: the output block knows the block of input channels that its group starts at.
// CHECK-LABEL: func.func @whole_blocks
// CHECK: linalg.generic
// CHECK-SAME: (d0, (d1 floordiv 2) * 2 + d5, d2 + d6, d3 + d7, d8)>
// CHECK-SAME: tensor<1x4x4x4x4xf32>, tensor<4x2x3x3x4x4xf32>
// CHECK-SAME: dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "r", "s", "c"], {{.*}}dlas.primitive = "grouped-spatial-pack"
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @whole_blocks(%x: tensor<1x2x8x4x4xf32>, %w: tensor<2x8x8x3x3xf32>, %start: tensor<1x2x8x2x2xf32>) -> tensor<1x2x8x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x8x4x4xf32>, tensor<2x8x8x3x3xf32>) outs(%start : tensor<1x2x8x2x2xf32>) -> tensor<1x2x8x2x2xf32>
  return %y : tensor<1x2x8x2x2xf32>
}
}

// -----

// Fewer output blocks than input blocks in a group.
// CHECK-LABEL: func.func @narrowing
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1 * 3 + d5, d2 + d6, d3 + d7, d8)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @narrowing(%x: tensor<1x2x12x4x4xf32>, %w: tensor<2x4x12x3x3xf32>, %start: tensor<1x2x4x2x2xf32>) -> tensor<1x2x4x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x12x4x4xf32>, tensor<2x4x12x3x3xf32>) outs(%start : tensor<1x2x4x2x2xf32>) -> tensor<1x2x4x2x2xf32>
  return %y : tensor<1x2x4x2x2xf32>
}
}

// -----

// Groups within a block: lane k reads the channels of its own group in the same block.
// CHECK-LABEL: func.func @within_a_block
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2 + d6, d3 + d7, (d4 floordiv 2) * 2 + d8)>
// CHECK-SAME: tensor<1x2x4x4x4xf32>, tensor<2x1x3x3x2x4xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @within_a_block(%x: tensor<1x4x2x4x4xf32>, %w: tensor<4x2x2x3x3xf32>, %start: tensor<1x4x2x2x2xf32>) -> tensor<1x4x2x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x4x2x4x4xf32>, tensor<4x2x2x3x3xf32>) outs(%start : tensor<1x4x2x2x2xf32>) -> tensor<1x4x2x2x2xf32>
  return %y : tensor<1x4x2x2x2xf32>
}
}

// -----

// Two channels in, four out, in blocks of four: output block kb is group kb, whose channels are a half of input block
// kb / 2. The weights need not be constants.
// CHECK-LABEL: func.func @widening
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1 floordiv 2, d2 + d6, d3 + d7, (d1 mod 2) * 2 + d8)>
// CHECK-SAME: tensor<1x2x4x4x4xf32>, tensor<4x1x3x3x2x4xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @widening(%x: tensor<1x4x2x4x4xf32>, %w: tensor<4x4x2x3x3xf32>, %start: tensor<1x4x4x2x2xf32>) -> tensor<1x4x4x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x4x2x4x4xf32>, tensor<4x4x2x3x3xf32>) outs(%start : tensor<1x4x4x2x2xf32>) -> tensor<1x4x4x2x2xf32>
  return %y : tensor<1x4x4x2x2xf32>
}
}

// -----

// One channel in, two out: the four lanes of an output block read two channels, a half of an input block.
// CHECK-LABEL: func.func @widening_within_a_block
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1 floordiv 2, d2 + d6, d3 + d7, (d1 mod 2) * 2 + d4 floordiv 2 + d8)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @widening_within_a_block(%x: tensor<1x4x1x4x4xf32>, %w: tensor<4x2x1x3x3xf32>, %start: tensor<1x4x2x2x2xf32>) -> tensor<1x4x2x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x4x1x4x4xf32>, tensor<4x2x1x3x3xf32>) outs(%start : tensor<1x4x2x2x2xf32>) -> tensor<1x4x2x2x2xf32>
  return %y : tensor<1x4x2x2x2xf32>
}
}

// -----

// Six channels in, eight out: output block kb is in group kb / 2, whose channels begin in the middle of an input block.
// CHECK-LABEL: func.func @from_the_middle
// CHECK: linalg.generic
// CHECK-SAME: (d0, ((d1 floordiv 2) * 6 + d8) floordiv 4, d2 + d6, d3 + d7, ((d1 floordiv 2) * 6 + d8) mod 4)>
// CHECK-SAME: tensor<1x3x2x2x4xf32>, tensor<4x1x1x1x6x4xf32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @from_the_middle(%x: tensor<1x2x6x2x2xf32>, %start: tensor<1x2x8x2x2xf32>) -> tensor<1x2x8x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<2x8x6x1x1xf32>
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x6x2x2xf32>, tensor<2x8x6x1x1xf32>) outs(%start : tensor<1x2x8x2x2xf32>) -> tensor<1x2x8x2x2xf32>
  return %y : tensor<1x2x8x2x2xf32>
}
}

// -----

// All others, of integers: an output block reads the band of input blocks that its channels' groups touch. Here six channels make
// a group, four a block: of the three output blocks the first reads blocks 0 and 1, the second all three (it is in
// both groups), the last blocks 1 and 2. A band of three from block 1 would read past the end, so all read everything;
// the weights have zeros where an output channel does not read.
// CHECK-LABEL: func.func @bands
// CHECK: %[[W:.*]] = arith.constant dense_resource<{{.*}}> : tensor<3x3x1x1x4x4xi32>
// CHECK: linalg.generic
// CHECK-SAME: (d0, d5, d2 + d6, d3 + d7, d8)>
// CHECK-SAME: ins(%{{.*}}, %[[W]] : tensor<1x3x2x2x4xi32>, tensor<3x3x1x1x4x4xi32>)
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @bands(%x: tensor<1x2x6x2x2xi32>, %start: tensor<1x2x6x2x2xi32>) -> tensor<1x2x6x2x2xi32> {
  %w = arith.constant dense<1> : tensor<2x6x6x1x1xi32>
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x6x2x2xi32>, tensor<2x6x6x1x1xi32>) outs(%start : tensor<1x2x6x2x2xi32>) -> tensor<1x2x6x2x2xi32>
  return %y : tensor<1x2x6x2x2xi32>
}
}

// -----

// Six channels in, eight out: the output block kb is in group kb / 2, whose first channel lies in block 6 * (kb / 2) / 4.
// CHECK-LABEL: func.func @narrow_bands
// CHECK: linalg.generic
// CHECK-SAME: (((d1 * 4) floordiv 8) * 6) floordiv 4 + d5, d2 + d6, d3 + d7, d8)>
// CHECK-SAME: tensor<1x3x2x2x4xi32>, tensor<4x2x1x1x4x4xi32>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @narrow_bands(%x: tensor<1x2x6x2x2xi32>, %start: tensor<1x2x8x2x2xi32>) -> tensor<1x2x8x2x2xi32> {
  %w = arith.constant dense<1> : tensor<2x8x6x1x1xi32>
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "grouped-spatial-pack"}
      ins(%x, %w : tensor<1x2x6x2x2xi32>, tensor<2x8x6x1x1xi32>) outs(%start : tensor<1x2x8x2x2xi32>) -> tensor<1x2x8x2x2xi32>
  return %y : tensor<1x2x8x2x2xi32>
}
}
