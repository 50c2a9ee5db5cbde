// A value that is packed in one way and read in another.
// RUN: %dlas_opt %s --split-input-file --dlas-propagate-layouts | FileCheck %s

// From blocks of 16 to blocks of 4: no NCHW in between.
// CHECK-DAG: #[[SPLIT_MAP:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d3, d4, d2, d5)>
// CHECK-DAG: #[[PLAIN:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2, d3, d4, d5)>
// CHECK-LABEL: func @smaller_blocks
// CHECK-SAME: (%[[X:.*]]: tensor<1x2x5x7x16xf32>)
// CHECK: %[[SPLIT:.*]] = tensor.expand_shape %[[X]] {{\[\[}}0], [1], [2], [3], [4, 5]]
// CHECK-SAME: into tensor<1x2x5x7x4x4xf32>
// CHECK: %[[COPY:.*]] = linalg.generic {indexing_maps = [#[[SPLIT_MAP]], #[[PLAIN]]], {{.*}} ins(%[[SPLIT]] : tensor<1x2x5x7x4x4xf32>) outs({{.*}} : tensor<1x2x4x5x7x4xf32>)
// CHECK: %[[Y:.*]] = tensor.collapse_shape %[[COPY]] {{\[\[}}0], [1, 2], [3], [4], [5]]
// CHECK: return %[[Y]] : tensor<1x8x5x7x4xf32>
func.func @smaller_blocks(%x: tensor<1x2x5x7x16xf32>) -> tensor<1x8x5x7x4xf32> {
  %e = tensor.empty() : tensor<1x32x5x7xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [16] into %e : tensor<1x2x5x7x16xf32> -> tensor<1x32x5x7xf32>
  %d = tensor.empty() : tensor<1x8x5x7x4xf32>
  %p = linalg.pack %u inner_dims_pos = [1] inner_tiles = [4] into %d : tensor<1x32x5x7xf32> -> tensor<1x8x5x7x4xf32>
  return %p : tensor<1x8x5x7x4xf32>
}

// -----

// 20 channels: the second block of 16 holds 12 of filler, which blocks of 4 do not need.
// CHECK-LABEL: func @without_filler
// CHECK: %[[Y:.*]] = tensor.collapse_shape {{.*}} into tensor<1x8x5x7x4xf32>
// CHECK: %[[CUT:.*]] = tensor.extract_slice %[[Y]][0, 0, 0, 0, 0] [1, 5, 5, 7, 4]
// CHECK: return %[[CUT]] : tensor<1x5x5x7x4xf32>
func.func @without_filler(%x: tensor<1x2x5x7x16xf32>) -> tensor<1x5x5x7x4xf32> {
  %e = tensor.empty() : tensor<1x20x5x7xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [16] into %e : tensor<1x2x5x7x16xf32> -> tensor<1x20x5x7xf32>
  %d = tensor.empty() : tensor<1x5x5x7x4xf32>
  %p = linalg.pack %u inner_dims_pos = [1] inner_tiles = [4] into %d : tensor<1x20x5x7xf32> -> tensor<1x5x5x7x4xf32>
  return %p : tensor<1x5x5x7x4xf32>
}

// -----

// From blocks of 8 to channels-last.
// CHECK-LABEL: func @one_block
// CHECK: tensor.expand_shape {{.*}} into tensor<1x1x4x5x7x8xf32>
// CHECK: linalg.generic {{.*}} outs({{.*}} : tensor<1x1x5x7x4x8xf32>)
// CHECK: tensor.collapse_shape {{.*}} into tensor<1x1x5x7x32xf32>
// CHECK-NOT: linalg.pack
func.func @one_block(%x: tensor<1x4x5x7x8xf32>) -> tensor<1x1x5x7x32xf32> {
  %e = tensor.empty() : tensor<1x32x5x7xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [8] into %e : tensor<1x4x5x7x8xf32> -> tensor<1x32x5x7xf32>
  %d = tensor.empty() : tensor<1x1x5x7x32xf32>
  %p = linalg.pack %u inner_dims_pos = [1] inner_tiles = [32] into %d : tensor<1x32x5x7xf32> -> tensor<1x1x5x7x32xf32>
  return %p : tensor<1x1x5x7x32xf32>
}

// -----

// Blocks of 12 and 8 have nothing to do with each other: through NCHW.
// CHECK-LABEL: func @unrelated_blocks
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 4, 2, 3]
// CHECK: tensor.collapse_shape {{.*}} into tensor<1x24x5x7xf32>
// CHECK: tensor.expand_shape {{.*}} into tensor<1x3x8x5x7xf32>
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 3, 4, 2]
func.func @unrelated_blocks(%x: tensor<1x2x5x7x12xf32>) -> tensor<1x3x5x7x8xf32> {
  %e = tensor.empty() : tensor<1x24x5x7xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [12] into %e : tensor<1x2x5x7x12xf32> -> tensor<1x24x5x7xf32>
  %d = tensor.empty() : tensor<1x3x5x7x8xf32>
  %p = linalg.pack %u inner_dims_pos = [1] inner_tiles = [8] into %d : tensor<1x24x5x7xf32> -> tensor<1x3x5x7x8xf32>
  return %p : tensor<1x3x5x7x8xf32>
}

// -----

// 24 channels in blocks of 8 are two blocks of 16, of which the second is half filler that is not there: through NCHW.
// CHECK-LABEL: func @more_filler
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 4, 2, 3]
// CHECK: tensor.pad {{.*}} high[0, 8, 0, 0]
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 3, 4, 2]
func.func @more_filler(%x: tensor<1x3x5x7x8xf32>) -> tensor<1x2x5x7x16xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x24x5x7xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [8] into %e : tensor<1x3x5x7x8xf32> -> tensor<1x24x5x7xf32>
  %d = tensor.empty() : tensor<1x2x5x7x16xf32>
  %p = linalg.pack %u padding_value(%zero : f32) inner_dims_pos = [1] inner_tiles = [16] into %d
      : tensor<1x24x5x7xf32> -> tensor<1x2x5x7x16xf32>
  return %p : tensor<1x2x5x7x16xf32>
}

// -----

// To channels-last and back is a transposition, with zeros for channels that are not there.
// CHECK-LABEL: func @channels_last
// CHECK-SAME: (%[[X:.*]]: tensor<1x30x5x7xf32>, %[[Z:.*]]: tensor<1x1x5x7x32xf32>)
// CHECK: %[[PAD:.*]] = tensor.pad %[[X]] low[0, 0, 0, 0] high[0, 2, 0, 0]
// CHECK: %[[T:.*]] = linalg.transpose ins(%[[PAD]] : tensor<1x32x5x7xf32>) {{.*}} permutation = [0, 2, 3, 1]
// CHECK: %[[P:.*]] = tensor.expand_shape %[[T]]
// CHECK: %[[LAST:.*]] = tensor.collapse_shape %[[Z]]
// CHECK: %[[CUT:.*]] = tensor.extract_slice %[[LAST]][0, 0, 0, 0] [1, 5, 7, 30]
// CHECK: %[[U:.*]] = linalg.transpose ins(%[[CUT]] : tensor<1x5x7x30xf32>) {{.*}} permutation = [0, 3, 1, 2]
// CHECK: return %[[P]], %[[U]]
func.func @channels_last(%x: tensor<1x30x5x7xf32>, %z: tensor<1x1x5x7x32xf32>)
    -> (tensor<1x1x5x7x32xf32>, tensor<1x30x5x7xf32>) {
  %zero = arith.constant 0.0 : f32
  %d = tensor.empty() : tensor<1x1x5x7x32xf32>
  %p = linalg.pack %x padding_value(%zero : f32) inner_dims_pos = [1] inner_tiles = [32] into %d
      : tensor<1x30x5x7xf32> -> tensor<1x1x5x7x32xf32>
  %e = tensor.empty() : tensor<1x30x5x7xf32>
  %u = linalg.unpack %z inner_dims_pos = [1] inner_tiles = [32] into %e : tensor<1x1x5x7x32xf32> -> tensor<1x30x5x7xf32>
  return %p, %u : tensor<1x1x5x7x32xf32>, tensor<1x30x5x7xf32>
}

// -----

// Parts that are one block each, of different sizes or where who reads them wants it, are one block together.
// CHECK-LABEL: func.func @channels_last
// CHECK: %[[C:.*]] = tensor.concat dim(4) %arg0, %arg1 : (tensor<1x1x2x2x4xf32>, tensor<1x1x2x2x8xf32>) -> tensor<1x1x2x2x12xf32>
// CHECK: %[[D:.*]] = tensor.concat dim(4) %arg0, %arg0
// CHECK: return %[[C]], %[[D]]
func.func @channels_last(%x: tensor<1x1x2x2x4xf32>, %y: tensor<1x1x2x2x8xf32>) -> (tensor<1x1x2x2x12xf32>, tensor<1x1x2x2x8xf32>) {
  %e = tensor.empty() : tensor<1x4x2x2xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x1x2x2x4xf32> -> tensor<1x4x2x2xf32>
  %f = tensor.empty() : tensor<1x8x2x2xf32>
  %v = linalg.unpack %y inner_dims_pos = [1] inner_tiles = [8] into %f : tensor<1x1x2x2x8xf32> -> tensor<1x8x2x2xf32>
  %c = tensor.concat dim(1) %u, %v : (tensor<1x4x2x2xf32>, tensor<1x8x2x2xf32>) -> tensor<1x12x2x2xf32>
  %d = tensor.concat dim(1) %u, %u : (tensor<1x4x2x2xf32>, tensor<1x4x2x2xf32>) -> tensor<1x8x2x2xf32>
  %g = tensor.empty() : tensor<1x1x2x2x12xf32>
  %p = linalg.pack %c inner_dims_pos = [1] inner_tiles = [12] into %g : tensor<1x12x2x2xf32> -> tensor<1x1x2x2x12xf32>
  %h = tensor.empty() : tensor<1x1x2x2x8xf32>
  %q = linalg.pack %d inner_dims_pos = [1] inner_tiles = [8] into %h : tensor<1x8x2x2xf32> -> tensor<1x1x2x2x8xf32>
  return %p, %q : tensor<1x1x2x2x12xf32>, tensor<1x1x2x2x8xf32>
}
