// RUN: %dlas_opt %s --split-input-file --dlas-propagate-layouts | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-propagate-layouts=tile=16 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not %dlas_opt %S/Inputs/not-lowered.mlir --dlas-propagate-layouts 2>&1 | FileCheck %s --check-prefix=FORGOTTEN

// FORGOTTEN: not-lowered.mlir:3:8: error: layer 'conv1' is marked with the primitive 'fft', and nothing has lowered it: dlas-lower-fft belongs in the pipeline before this pass

// NAME: error: `dlas-propagate-layouts` has no option `tile`; it has none

// Down through an addition and padding to the pack that cancels it. What is added is packed, and the bias too.
// CHECK-LABEL: func.func @through
// CHECK: %[[E:.*]] = tensor.expand_shape %arg1
// CHECK: %[[R:.*]] = linalg.transpose ins(%[[E]] {{.*}} permutation = [0, 1, 3, 4, 2]
// CHECK: %[[B:.*]] = linalg.pack %arg2 inner_dims_pos = [0] inner_tiles = [4] {{.*}} -> tensor<2x4xf32>
// CHECK: %[[Y:.*]] = linalg.generic {{.*}} ins(%arg0, %[[R]], %[[B]]
// CHECK: %[[P:.*]] = tensor.pad %[[Y]] low[0, 0, 1, 1, 0] high[0, 0, 1, 1, 0]
// CHECK: return %[[P]]

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#channel = affine_map<(d0, d1, d2, d3) -> (d1)>
func.func @through(%x: tensor<1x2x4x4x4xf32>, %r: tensor<1x8x4x4xf32>, %b: tensor<8xf32>) -> tensor<1x2x6x6x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x8x4x4xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x4x4x4xf32> -> tensor<1x8x4x4xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #channel, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%u, %r, %b : tensor<1x8x4x4xf32>, tensor<1x8x4x4xf32>, tensor<8xf32>) outs(%e : tensor<1x8x4x4xf32>) {
  ^bb0(%a: f32, %c: f32, %d: f32, %o: f32):
    %s = arith.addf %a, %c : f32
    %t = arith.addf %s, %d : f32
    linalg.yield %t : f32
  } -> tensor<1x8x4x4xf32>
  %p = tensor.pad %y low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x8x4x4xf32> to tensor<1x8x6x6xf32>
  %e2 = tensor.empty() : tensor<1x2x6x6x4xf32>
  %z = linalg.pack %p inner_dims_pos = [1] inner_tiles = [4] into %e2 : tensor<1x8x6x6xf32> -> tensor<1x2x6x6x4xf32>
  return %z : tensor<1x2x6x6x4xf32>
}

// -----

// Pooling with padding of -inf, the mean of each channel, and the flattening of what is left: two filler lanes are cut
// off at the end.
// CHECK-LABEL: func.func @pooling_and_mean
// CHECK: %[[P:.*]] = tensor.pad %arg0
// CHECK: %[[M:.*]] = linalg.generic {{.*}} ins(%[[P]], %{{.*}} : tensor<1x2x8x8x4xf32>, tensor<3x3xf32>) {{.*}}dlas.loops = ["n", "cb", "oh", "ow", "c", "r", "s"]
// CHECK: arith.maximumf
// CHECK: %[[S:.*]] = linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel"]} ins(%[[M]]
// CHECK: tensor.extract_slice %{{.*}}[0, 0] [1, 6] [1, 1] : tensor<1x8xf32> to tensor<1x6xf32>

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
func.func @pooling_and_mean(%x: tensor<1x2x6x6x4xf32>) -> tensor<1x6xf32> {
  %zero = arith.constant 0.0 : f32
  %lowest = arith.constant 0xFF800000 : f32
  %e = tensor.empty() : tensor<1x6x6x6xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x6x6x4xf32> -> tensor<1x6x6x6xf32>
  %p = tensor.pad %u low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %lowest : f32
  } : tensor<1x6x6x6xf32> to tensor<1x6x8x8xf32>
  %e1 = tensor.empty() : tensor<1x6x3x3xf32>
  %start = linalg.fill ins(%lowest : f32) outs(%e1 : tensor<1x6x3x3xf32>) -> tensor<1x6x3x3xf32>
  %window = tensor.empty() : tensor<3x3xf32>
  %m = linalg.pooling_nchw_max {strides = dense<2> : vector<2xi64>, dilations = dense<1> : vector<2xi64>} ins(%p, %window : tensor<1x6x8x8xf32>, tensor<3x3xf32>) outs(%start : tensor<1x6x3x3xf32>) -> tensor<1x6x3x3xf32>
  %e2 = tensor.empty() : tensor<1x6x1x1xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x6x1x1xf32>) -> tensor<1x6x1x1xf32>
  %s = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1, d2, d3) -> (d0, d1, 0, 0)>], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%m : tensor<1x6x3x3xf32>) outs(%zeros : tensor<1x6x1x1xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = arith.addf %a, %o : f32
    linalg.yield %t : f32
  } -> tensor<1x6x1x1xf32>
  %flat = tensor.collapse_shape %s [[0], [1, 2, 3]] : tensor<1x6x1x1xf32> into tensor<1x6xf32>
  return %flat : tensor<1x6xf32>
}

// -----

// Whole blocks are concatenated as blocks, and parts that are not packed get packed. Blocks behind a partial one would
// not begin where blocks do: those stay unpacked.
// CHECK-LABEL: func.func @concatenation
// CHECK: tensor.expand_shape %arg1
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 3, 4, 2]
// CHECK: tensor.concat dim(1) %{{.*}}, %arg0, %{{.*}} -> tensor<1x5x2x2x4xf32>
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 4, 2, 3]
// CHECK: tensor.collapse_shape {{.*}} into tensor<1x20x2x2xf32>
// CHECK: tensor.concat {{.*}} -> tensor<1x11x2x2xf32>
func.func @concatenation(%x: tensor<1x2x2x2x4xf32>, %y: tensor<1x8x2x2xf32>, %z: tensor<1x1x2x2x4xf32>, %w: tensor<1x4x2x2xf32>) -> (tensor<1x20x2x2xf32>, tensor<1x11x2x2xf32>) {
  %e = tensor.empty() : tensor<1x8x2x2xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xf32> -> tensor<1x8x2x2xf32>
  %e1 = tensor.empty() : tensor<1x3x2x2xf32>
  %v = linalg.unpack %z inner_dims_pos = [1] inner_tiles = [4] into %e1 : tensor<1x1x2x2x4xf32> -> tensor<1x3x2x2xf32>
  %c = tensor.concat dim(1) %y, %u, %w : (tensor<1x8x2x2xf32>, tensor<1x8x2x2xf32>, tensor<1x4x2x2xf32>) -> tensor<1x20x2x2xf32>
  %d = tensor.concat dim(1) %v, %u : (tensor<1x3x2x2xf32>, tensor<1x8x2x2xf32>) -> tensor<1x11x2x2xf32>
  return %c, %d : tensor<1x20x2x2xf32>, tensor<1x11x2x2xf32>
}

// -----

// A filler lane holds zero, and an integer divided by it would trap: with a partial block that stays unpacked. There is no
// filler in a whole block.
// CHECK-LABEL: func.func @traps
// CHECK: linalg.transpose ins(%arg0 {{.*}} permutation = [0, 1, 4, 2, 3]
// CHECK: tensor.extract_slice {{.*}} to tensor<1x7x2x2xi32>
// CHECK: linalg.generic {{.*}} outs({{.*}} : tensor<1x7x2x2xi32>)
// CHECK: linalg.generic {{.*}} ins(%arg1

#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
func.func @traps(%x: tensor<1x2x2x2x4xi32>, %whole: tensor<1x1x2x2x4xi32>) -> (tensor<1x7x2x2xi32>, tensor<1x4x2x2xi32>) {
  %one = arith.constant 1 : i32
  %e = tensor.empty() : tensor<1x7x2x2xi32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xi32> -> tensor<1x7x2x2xi32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%u : tensor<1x7x2x2xi32>) outs(%e : tensor<1x7x2x2xi32>) {
  ^bb0(%a: i32, %o: i32):
    %s = arith.divsi %one, %a : i32
    linalg.yield %s : i32
  } -> tensor<1x7x2x2xi32>
  %e1 = tensor.empty() : tensor<1x4x2x2xi32>
  %v = linalg.unpack %whole inner_dims_pos = [1] inner_tiles = [4] into %e1 : tensor<1x1x2x2x4xi32> -> tensor<1x4x2x2xi32>
  %z = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%v : tensor<1x4x2x2xi32>) outs(%e1 : tensor<1x4x2x2xi32>) {
  ^bb0(%a: i32, %o: i32):
    %s = arith.divsi %one, %a : i32
    linalg.yield %s : i32
  } -> tensor<1x4x2x2xi32>
  return %y, %z : tensor<1x7x2x2xi32>, tensor<1x4x2x2xi32>
}

// -----

// A sum over the channels, and padding of channels.
// CHECK-LABEL: func.func @across_channels
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 4, 2, 3]
// CHECK: %[[U:.*]] = tensor.collapse_shape {{.*}} into tensor<1x8x2x2xf32>
// CHECK: linalg.generic {{.*}} ins(%[[U]]
// CHECK: tensor.pad %[[U]]
func.func @across_channels(%x: tensor<1x2x2x2x4xf32>) -> (tensor<1x2x2xf32>, tensor<1x9x2x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x8x2x2xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xf32> -> tensor<1x8x2x2xf32>
  %e2 = tensor.empty() : tensor<1x2x2xf32>
  %zeros = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x2x2xf32>) -> tensor<1x2x2xf32>
  %s = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d3, d1, d2)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%u : tensor<1x8x2x2xf32>) outs(%zeros : tensor<1x2x2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = arith.addf %a, %o : f32
    linalg.yield %t : f32
  } -> tensor<1x2x2xf32>
  %p = tensor.pad %u low[0, 1, 0, 0] high[0, 0, 0, 0] {
  ^bb0(%i: index, %j: index, %k: index, %l: index):
    tensor.yield %zero : f32
  } : tensor<1x8x2x2xf32> to tensor<1x9x2x2xf32>
  return %s, %p : tensor<1x2x2xf32>, tensor<1x9x2x2xf32>
}

// -----

// Pooling in NCHW, of which the last row is not read.
// CHECK-DAG: #[[IN:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1, d2 * 2 + d4, d3 * 2 + d5)>
// CHECK-LABEL: func.func @unpacked_pooling
// CHECK: linalg.generic {indexing_maps = [#[[IN]], {{.*}} ins(%arg0, %{{.*}} : tensor<1x3x4x5xf32>, tensor<3x3xf32>) {{.*}}dlas.loops = ["n", "c", "oh", "ow", "r", "s"]
// CHECK: arith.addf
func.func @unpacked_pooling(%x: tensor<1x3x4x5xf32>, %start: tensor<1x3x1x2xf32>) -> tensor<1x3x1x2xf32> {
  %window = tensor.empty() : tensor<3x3xf32>
  %s = linalg.pooling_nchw_sum {strides = dense<2> : vector<2xi64>, dilations = dense<1> : vector<2xi64>} ins(%x, %window : tensor<1x3x4x5xf32>, tensor<3x3xf32>) outs(%start : tensor<1x3x1x2xf32>) -> tensor<1x3x1x2xf32>
  return %s : tensor<1x3x1x2xf32>
}

// -----

// Between sparse contractions, which compute and read NCHW, a packed residual is unpacked; elsewhere the other is packed.
#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#data = affine_map<(d0, d1, d2, d3, d4) -> (d0, d4, d2, d3)>
#weights = affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>
#out = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>
// CHECK-LABEL: func.func @between_sparse
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 4, 2, 3]
// CHECK: %[[FIRST:.*]] = linalg.generic {{.*}}dlas.sparse
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}} ins(%[[FIRST]], %{{.*}} : tensor<1x8x2x2xf32>, tensor<1x8x2x2xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[SUM]], %{{.*}}dlas.sparse
// CHECK-LABEL: func.func @behind_sparse
// CHECK: linalg.generic {{.*}}dlas.sparse
// CHECK: linalg.transpose {{.*}} permutation = [0, 1, 3, 4, 2]
// CHECK: linalg.generic {{.*}} tensor<1x2x2x2x4xf32>, tensor<1x2x2x2x4xf32>
func.func @between_sparse(%x: tensor<1x8x2x2xf32>, %r: tensor<1x2x2x2x4xf32>, %zeros: tensor<1x8x2x2xf32>) -> tensor<1x8x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<8x8xf32>
  %e = tensor.empty() : tensor<1x8x2x2xf32>
  %u = linalg.unpack %r inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xf32> -> tensor<1x8x2x2xf32>
  %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : tensor<1x8x2x2xf32>, tensor<8x8xf32>) outs(%zeros : tensor<1x8x2x2xf32>) attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 64 : i64}} {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<1x8x2x2xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1, %u : tensor<1x8x2x2xf32>, tensor<1x8x2x2xf32>) outs(%e : tensor<1x8x2x2xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %t = arith.addf %a, %b : f32
    linalg.yield %t : f32
  } -> tensor<1x8x2x2xf32>
  %3 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]} ins(%2, %w : tensor<1x8x2x2xf32>, tensor<8x8xf32>) outs(%zeros : tensor<1x8x2x2xf32>) attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 64 : i64}} {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<1x8x2x2xf32>
  return %3 : tensor<1x8x2x2xf32>
}

func.func @behind_sparse(%x: tensor<1x8x2x2xf32>, %r: tensor<1x2x2x2x4xf32>, %zeros: tensor<1x8x2x2xf32>) -> tensor<1x8x2x2xf32> {
  %w = arith.constant dense<1.0> : tensor<8x8xf32>
  %e = tensor.empty() : tensor<1x8x2x2xf32>
  %u = linalg.unpack %r inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xf32> -> tensor<1x8x2x2xf32>
  %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]} ins(%x, %w : tensor<1x8x2x2xf32>, tensor<8x8xf32>) outs(%zeros : tensor<1x8x2x2xf32>) attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 64 : i64}} {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<1x8x2x2xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1, %u : tensor<1x8x2x2xf32>, tensor<1x8x2x2xf32>) outs(%e : tensor<1x8x2x2xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %t = arith.addf %a, %b : f32
    linalg.yield %t : f32
  } -> tensor<1x8x2x2xf32>
  return %2 : tensor<1x8x2x2xf32>
}

// -----

// What a body does with the index of a channel is not what it would do with that of a block.
#id = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
// CHECK-LABEL: func.func @index_of_channels
// CHECK: linalg.transpose ins(%arg0
// CHECK: linalg.generic {{.*}} outs({{.*}} : tensor<1x8x2x2xf32>)
// CHECK: linalg.index 1
// CHECK-LABEL: func.func @index_of_rows
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<1x2x2x2x4xf32>)
// CHECK: linalg.index 2
func.func @index_of_channels(%x: tensor<1x2x2x2x4xf32>) -> tensor<1x8x2x2xf32> {
  %e = tensor.empty() : tensor<1x8x2x2xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xf32> -> tensor<1x8x2x2xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%u : tensor<1x8x2x2xf32>) outs(%e : tensor<1x8x2x2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %i = linalg.index 1 : index
    %j = arith.index_cast %i : index to i32
    %k = arith.sitofp %j : i32 to f32
    %s = arith.addf %a, %k : f32
    linalg.yield %s : f32
  } -> tensor<1x8x2x2xf32>
  return %y : tensor<1x8x2x2xf32>
}

func.func @index_of_rows(%x: tensor<1x2x2x2x4xf32>) -> tensor<1x8x2x2xf32> {
  %e = tensor.empty() : tensor<1x8x2x2xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x2x2x2x4xf32> -> tensor<1x8x2x2xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%u : tensor<1x8x2x2xf32>) outs(%e : tensor<1x8x2x2xf32>) {
  ^bb0(%a: f32, %o: f32):
    %i = linalg.index 2 : index
    %j = arith.index_cast %i : index to i32
    %k = arith.sitofp %j : i32 to f32
    %s = arith.addf %a, %k : f32
    linalg.yield %s : f32
  } -> tensor<1x8x2x2xf32>
  return %y : tensor<1x8x2x2xf32>
}

// -----

// Reshapes that are no flattening of 1x1 images.
// CHECK-LABEL: func.func @other_reshapes
// CHECK: %[[U:.*]] = tensor.extract_slice {{.*}} to tensor<6x1xf32>
// CHECK: tensor.expand_shape %[[U]] {{\[\[}}0, 1], [2, 3]] output_shape [2, 3, 1, 1]
// CHECK: %[[V:.*]] = tensor.expand_shape {{.*}} into tensor<2x6x1x1xf32>
// CHECK: tensor.collapse_shape %[[V]] {{\[\[}}0, 1], [2, 3]]
func.func @other_reshapes(%x: tensor<6x1x4xf32>, %y: tensor<2x2x1x1x4xf32>) -> (tensor<2x3x1x1xf32>, tensor<12x1xf32>) {
  %e = tensor.empty() : tensor<6x1xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<6x1x4xf32> -> tensor<6x1xf32>
  %r = tensor.expand_shape %u [[0, 1], [2, 3]] output_shape [2, 3, 1, 1] : tensor<6x1xf32> into tensor<2x3x1x1xf32>
  %e1 = tensor.empty() : tensor<2x6x1x1xf32>
  %v = linalg.unpack %y inner_dims_pos = [1] inner_tiles = [4] into %e1 : tensor<2x2x1x1x4xf32> -> tensor<2x6x1x1xf32>
  %c = tensor.collapse_shape %v [[0, 1], [2, 3]] : tensor<2x6x1x1xf32> into tensor<12x1xf32>
  return %r, %c : tensor<2x3x1x1xf32>, tensor<12x1xf32>
}

// -----

// A pack that is padded with something keeps its padding, unless nobody reads it.
// CHECK-LABEL: func.func @padding_of_a_pack
// CHECK: %[[ONE:.*]] = arith.constant 1.000000e+00
// CHECK: tensor.pad %arg0 low[0, 0, 0, 0] high[0, 1, 0, 0]
// CHECK: tensor.yield %[[ONE]]
// CHECK: %[[KEPT:.*]] = linalg.transpose {{.*}} permutation = [0, 2, 3, 1]
// CHECK: tensor.pad {{.*}} high[0, 1, 0, 0]
// CHECK: return %{{.*}}, %{{.*}}, %arg1
func.func @padding_of_a_pack(%x: tensor<1x3x2x2xf32>, %y: tensor<1x1x2x2x4xf32>)
    -> (tensor<1x1x2x2x4xf32>, tensor<1x1x2x2x4xf32>, tensor<1x1x2x2x4xf32>) {
  %one = arith.constant 1.0 : f32
  %d = tensor.empty() : tensor<1x1x2x2x4xf32>
  %p = linalg.pack %x padding_value(%one : f32) inner_dims_pos = [1] inner_tiles = [4] into %d : tensor<1x3x2x2xf32> -> tensor<1x1x2x2x4xf32>
  %e = tensor.empty() : tensor<1x3x2x2xf32>
  %u = linalg.unpack %y inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<1x1x2x2x4xf32> -> tensor<1x3x2x2xf32>
  %q = linalg.pack %u padding_value(%one : f32) inner_dims_pos = [1] inner_tiles = [4] into %d : tensor<1x3x2x2xf32> -> tensor<1x1x2x2x4xf32>
  %r = linalg.pack %u padding_value(%one : f32) inner_dims_pos = [1] inner_tiles = [4] into %d {dlas.unread_filler} : tensor<1x3x2x2xf32> -> tensor<1x1x2x2x4xf32>
  return %p, %q, %r : tensor<1x1x2x2x4xf32>, tensor<1x1x2x2x4xf32>, tensor<1x1x2x2x4xf32>
}

// -----

// Pooling computes as the named operation does, in the types that it has.
// CHECK-LABEL: func.func @pooling_of_integers
// CHECK: linalg.generic {{.*}} ins(%arg0, %{{.*}} : tensor<1x3x4x5xi8>, tensor<3x3xi8>)
// CHECK: arith.maxsi %{{.*}}, %{{.*}} : i8
// CHECK: linalg.generic {{.*}} ins(%arg0, %{{.*}} : tensor<1x3x4x5xi8>, tensor<3x3xi8>)
// CHECK: arith.extsi %{{.*}} : i8 to i32
// CHECK: arith.addi %{{.*}}, %{{.*}} : i32
func.func @pooling_of_integers(%x: tensor<1x3x4x5xi8>, %start: tensor<1x3x2x3xi8>, %zeros: tensor<1x3x2x3xi32>) -> (tensor<1x3x2x3xi8>, tensor<1x3x2x3xi32>) {
  %window = tensor.empty() : tensor<3x3xi8>
  %m = linalg.pooling_nchw_max ins(%x, %window : tensor<1x3x4x5xi8>, tensor<3x3xi8>) outs(%start : tensor<1x3x2x3xi8>) -> tensor<1x3x2x3xi8>
  %s = linalg.pooling_nchw_sum ins(%x, %window : tensor<1x3x4x5xi8>, tensor<3x3xi8>) outs(%zeros : tensor<1x3x2x3xi32>) -> tensor<1x3x2x3xi32>
  return %m, %s : tensor<1x3x2x3xi8>, tensor<1x3x2x3xi32>
}

// -----

// iree-compile stores bits as bytes, but not the padding of their pack: what is selected by given bits is unpacked before.
// Bits that are computed in the packed layout stay there.
// CHECK-LABEL: func.func @bits
// CHECK-NOT: linalg.pack
// CHECK: arith.cmpf {{.*}} : f32
// CHECK: arith.select {{.*}} : f32
// CHECK: linalg.generic {{.*}} ins(%arg1, {{.*}} : tensor<1x6xi1>, tensor<1x6xf32>)
// CHECK-NOT: linalg.pack
#i = affine_map<(d0, d1) -> (d0, d1)>
func.func @bits(%x: tensor<1x1x16xf32>, %given: tensor<1x6xi1>) -> tensor<1x6xf32> {
  %e = tensor.empty() : tensor<1x6xf32>
  %b = tensor.empty() : tensor<1x6xi1>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [16] into %e : tensor<1x1x16xf32> -> tensor<1x6xf32>
  %c = linalg.generic {indexing_maps = [#i, #i], iterator_types = ["parallel", "parallel"]} ins(%u : tensor<1x6xf32>) outs(%b : tensor<1x6xi1>) {
  ^bb0(%v: f32, %o: i1):
    %zero = arith.constant 0.0 : f32
    %p = arith.cmpf ogt, %v, %zero : f32
    linalg.yield %p : i1
  } -> tensor<1x6xi1>
  %s = linalg.generic {indexing_maps = [#i, #i, #i], iterator_types = ["parallel", "parallel"]} ins(%c, %u : tensor<1x6xi1>, tensor<1x6xf32>) outs(%e : tensor<1x6xf32>) {
  ^bb0(%p: i1, %v: f32, %o: f32):
    %n = arith.negf %v : f32
    %r = arith.select %p, %v, %n : f32
    linalg.yield %r : f32
  } -> tensor<1x6xf32>
  %t = linalg.generic {indexing_maps = [#i, #i, #i], iterator_types = ["parallel", "parallel"]} ins(%given, %s : tensor<1x6xi1>, tensor<1x6xf32>) outs(%e : tensor<1x6xf32>) {
  ^bb0(%p: i1, %v: f32, %o: f32):
    %m = arith.constant 0xFF800000 : f32
    %r = arith.select %p, %m, %v : f32
    linalg.yield %r : f32
  } -> tensor<1x6xf32>
  return %t : tensor<1x6xf32>
}

// -----

// What is filled stays a fill, of the packed shape.
// CHECK-LABEL: func.func @filled
// CHECK-NOT: linalg.pack
// CHECK: %[[F:.*]] = linalg.fill {{.*}} -> tensor<1x4xf32>
// CHECK: linalg.generic {{.*}} ins(%arg0, %[[F]]
func.func @filled(%x: tensor<2x1x5x5x4xf32>) -> tensor<2x3x5x5xf32> {
  %one = arith.constant 1.0 : f32
  %eb = tensor.empty() : tensor<3xf32>
  %b = linalg.fill ins(%one : f32) outs(%eb : tensor<3xf32>) -> tensor<3xf32>
  %e = tensor.empty() : tensor<2x3x5x5xf32>
  %u = linalg.unpack %x inner_dims_pos = [1] inner_tiles = [4] into %e : tensor<2x1x5x5x4xf32> -> tensor<2x3x5x5xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d1)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%u, %b : tensor<2x3x5x5xf32>, tensor<3xf32>) outs(%e : tensor<2x3x5x5xf32>) {
  ^bb0(%v: f32, %w: f32, %o: f32):
    %s = arith.addf %v, %w : f32
    linalg.yield %s : f32
  } -> tensor<2x3x5x5xf32>
  return %y : tensor<2x3x5x5xf32>
}
