// RUN: %dlas_opt %s --split-input-file --dlas-lower-direct --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/dlas.primitive =/dlas.options = {layout = "nchw"}, dlas.primitive =/' %s > %t.nchw.mlir
// RUN: %dlas_opt %t.nchw.mlir --split-input-file --dlas-lower-direct --mlir-print-local-scope | FileCheck %s --check-prefix=NCHW
// RUN: not %dlas_opt %s --split-input-file --dlas-lower-direct=layout=nchw 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: sed 's/dlas.primitive =/dlas.options = {layout = "chwn"}, dlas.primitive =/' %s > %t.chwn.mlir
// RUN: not %dlas_opt %t.chwn.mlir --split-input-file --dlas-lower-direct 2>&1 | FileCheck %s --check-prefix=LAYOUT

// OPTION: error: `dlas-lower-direct` has no option `layout`: it is an option of the primitive, which is chosen as dlas-select-primitive{primitive=direct{layout=...}}, or in the IR by dlas.options = {layout = ...}
// LAYOUT: error: `dlas.options`: `layout`: expected auto or nhwc or nchw or nhwgc, found `chwn`

// Channels last is one block of all channels, a multiple of the lanes; those that fill it up are not read.
// CHECK-LABEL: func.func @dense
// CHECK: linalg.pack %arg1 padding_value{{.*}} inner_dims_pos = [1, 0] inner_tiles = [5, 8] {{.*}} -> tensor<1x1x3x3x5x8xf32>
// CHECK: %[[X:.*]] = linalg.pack %arg0 padding_value{{.*}} inner_dims_pos = [1] inner_tiles = [8] {{.*}}dlas.unread_filler{{.*}} -> tensor<1x1x6x6x8xf32>
// CHECK: %[[READ:.*]] = tensor.extract_slice %[[X]][0, 0, 0, 0, 0] [1, 1, 6, 6, 5]
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2 + d6, d3 + d7, d8)>
// CHECK-SAME: -> (d1, d5, d6, d7, d8, d4)>
// CHECK-SAME: ins(%[[READ]]
// CHECK-SAME: dlas.loops = ["n", "kb", "oh", "ow", "k", "cb", "r", "s", "c"], {{.*}}dlas.primitive = "direct"
// CHECK: linalg.unpack {{.*}} tensor<1x1x4x4x8xf32> -> tensor<1x6x4x4xf32>

// Nothing is laid out again in NCHW.
// NCHW-LABEL: func.func @dense
// NCHW-NOT: linalg.pack
// NCHW: linalg.generic
// NCHW-SAME: (d0, d4, d2 + d5, d3 + d6)>
// NCHW-SAME: -> (d1, d4, d5, d6)>
// NCHW-SAME: iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]
// NCHW-SAME: ins(%arg0, %arg1 : tensor<1x5x6x6xf32>, tensor<6x5x3x3xf32>)
// NCHW-SAME: dlas.loops = ["n", "k", "oh", "ow", "c", "r", "s"]
// NCHW-NOT: linalg.unpack
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @dense(%x: tensor<1x5x6x6xf32>, %w: tensor<6x5x3x3xf32>, %start: tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32> {
  %y = linalg.conv_2d_nchw_fchw {dlas.primitive = "direct"}
      ins(%x, %w : tensor<1x5x6x6xf32>, tensor<6x5x3x3xf32>) outs(%start : tensor<1x6x4x4xf32>) -> tensor<1x6x4x4xf32>
  return %y : tensor<1x6x4x4xf32>
}
}

// -----

// A group of output channels fills whole vectors: lane k reads the channels of its own group. The filler lanes of the
// output (three groups of eight in blocks of four need none) never read past the input.
// CHECK-LABEL: func.func @groups_of_whole_vectors
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2 + d6, d3 + d7, (d4 floordiv 8) * 2 + d8)>
// CHECK-SAME: tensor<1x1x4x4x8xf32>, tensor<1x1x1x1x2x24xf32>
// CHECK: linalg.unpack {{.*}} -> tensor<1x24x4x4xf32>

// NCHW-LABEL: func.func @groups_of_whole_vectors
// NCHW: linalg.generic
// NCHW-SAME: (d0, (d1 floordiv 8) * 2 + d4, d2 + d5, d3 + d6)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @groups_of_whole_vectors(%x: tensor<1x6x4x4xf32>, %w: tensor<3x8x2x1x1xf32>, %start: tensor<1x3x8x4x4xf32>) -> tensor<1x24x4x4xf32> {
  %x5 = tensor.expand_shape %x [[0], [1, 2], [3], [4]] output_shape [1, 3, 2, 4, 4] : tensor<1x6x4x4xf32> into tensor<1x3x2x4x4xf32>
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "direct"}
      ins(%x5, %w : tensor<1x3x2x4x4xf32>, tensor<3x8x2x1x1xf32>) outs(%start : tensor<1x3x8x4x4xf32>) -> tensor<1x3x8x4x4xf32>
  %out = tensor.collapse_shape %y [[0], [1, 2], [3], [4]] : tensor<1x3x8x4x4xf32> into tensor<1x24x4x4xf32>
  return %out : tensor<1x24x4x4xf32>
}
}

// -----

// The second vector of output channels is half filler: its lanes count as a fourth group, for which the block of
// input channels has room (12 of 3x3).
// CHECK-LABEL: func.func @filler_lanes
// CHECK: linalg.pack {{.*}} inner_tiles = [12] {{.*}} -> tensor<1x1x4x4x12xf32>
// CHECK: linalg.generic
// CHECK-SAME: (d4 floordiv 2) * 3 + d8)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @filler_lanes(%x: tensor<1x3x3x4x4xf32>, %w: tensor<3x2x3x1x1xf32>, %start: tensor<1x3x2x4x4xf32>) -> tensor<1x3x2x4x4xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "direct"}
      ins(%x, %w : tensor<1x3x3x4x4xf32>, tensor<3x2x3x1x1xf32>) outs(%start : tensor<1x3x2x4x4xf32>) -> tensor<1x3x2x4x4xf32>
  return %y : tensor<1x3x2x4x4xf32>
}
}

// -----

// Groups that a vector would straddle (three channels in four lanes) are done in NCHW.
// CHECK-LABEL: func.func @straddling
// CHECK-NOT: linalg.pack
// CHECK: linalg.generic
// CHECK-SAME: (d0, (d1 floordiv 3) * 3 + d4, d2 + d5, d3 + d6)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @straddling(%x: tensor<1x2x3x4x4xf32>, %w: tensor<2x3x3x1x1xf32>, %start: tensor<1x2x3x4x4xf32>) -> tensor<1x2x3x4x4xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "direct"}
      ins(%x, %w : tensor<1x2x3x4x4xf32>, tensor<2x3x3x1x1xf32>) outs(%start : tensor<1x2x3x4x4xf32>) -> tensor<1x2x3x4x4xf32>
  return %y : tensor<1x2x3x4x4xf32>
}
}

// -----

// Depthwise: lane k reads lane k.
// CHECK-LABEL: func.func @depthwise
// CHECK: linalg.generic
// CHECK-SAME: (d0, d1, d2 + d6, d3 + d7, d4)>
// NCHW-LABEL: func.func @depthwise
// NCHW: linalg.generic
// NCHW-SAME: (d0, d1, d2 + d5, d3 + d6)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @depthwise(%x: tensor<1x5x4x4xf32>, %w: tensor<5x3x3xf32>, %start: tensor<1x5x2x2xf32>) -> tensor<1x5x2x2xf32> {
  %y = linalg.depthwise_conv_2d_nchw_chw {dlas.primitive = "direct"}
      ins(%x, %w : tensor<1x5x4x4xf32>, tensor<5x3x3xf32>) outs(%start : tensor<1x5x2x2xf32>) -> tensor<1x5x2x2xf32>
  return %y : tensor<1x5x2x2xf32>
}
}

// -----

// No division in an indexing map on a target without vectors: GPU code generation does not take it.
// CHECK-LABEL: func.func @groups_without_vectors
// CHECK: %[[X:.*]] = linalg.pack {{.*}} inner_tiles = [6] {{.*}} -> tensor<1x1x4x4x6xf32>
// CHECK-NOT: floordiv
// CHECK: linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d0, 0, d1 + d5, d2 + d6, d3 * 3 + d7)>,
// CHECK-SAME: affine_map<(d0, d1, d2, d3, d4, d5, d6, d7) -> (d3, d5, d6, d7, d4)>,
// CHECK-SAME: ins(%[[X]], {{.*}} : tensor<1x1x4x4x6xf32>, tensor<2x3x3x3x5xf32>) outs({{.*}} : tensor<1x2x2x2x5xf32>)
// CHECK-SAME: dlas.loops = ["n", "oh", "ow", "g", "k", "r", "s", "c"]
// CHECK: linalg.unpack {{.*}} tensor<1x1x2x2x10xf32> -> tensor<1x10x2x2xf32>
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @groups_without_vectors(%x: tensor<1x2x3x4x4xf32>, %w: tensor<2x5x3x3x3xf32>, %start: tensor<1x2x5x2x2xf32>) -> tensor<1x2x5x2x2xf32> {
  %y = linalg.conv_2d_ngchw_gfchw {dlas.primitive = "direct"}
      ins(%x, %w : tensor<1x2x3x4x4xf32>, tensor<2x5x3x3x3xf32>) outs(%start : tensor<1x2x5x2x2xf32>) -> tensor<1x2x5x2x2xf32>
  return %y : tensor<1x2x5x2x2xf32>
}
}
