// RUN: %dlas_opt %s --split-input-file --dlas-attach-schedules | FileCheck %s
// RUN: not %dlas_opt %s --dlas-attach-schedules=sparse=1 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-attach-schedules` has no option `sparse`; it has `schedule`

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

// Pixels are in the lanes, 8 of them; output channels are the innermost parallel loop, in blocks of one. All registers
// that a tile of whole rows can use accumulate, and half of the channels stay in the cache. Two threads get half of the rows each.
// CHECK-LABEL: func.func @convolution
// CHECK: dlas.schedule = {distribute = {d2 = 8 : i64}, kind = "sparse", lanes = 8 : i64, order = ["d2", "d3", "d1", "d4", "d5", "d6"], tile = {d2 = 8 : i64, d3 = 16 : i64, d4 = 32 : i64}, vector = "d3"}
module attributes {dlas.target = {name = "t", kind = "cpu", vector_bits = 512 : i64, sparse_bits = 256 : i64, vector_registers = 32 : i64, threads = 2 : i64}} {
func.func @convolution(%x: tensor<1x64x18x18xf32>, %w: tensor<64x64x3x3xf32>, %start: tensor<1x64x16x16xf32>) -> tensor<1x64x16x16xf32> {
  %y = flow.dispatch.region -> (tensor<1x64x16x16xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
        ins(%x, %w : tensor<1x64x18x18xf32>, tensor<64x64x3x3xf32>) outs(%start : tensor<1x64x16x16xf32>) attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 3686 : i64}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x64x16x16xf32>
    flow.return %1 : tensor<1x64x16x16xf32>
  }
  return %y : tensor<1x64x16x16xf32>
}
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

// Tiles of six rows do not split 28 rows into workgroups that do not overlap: two threads get channels instead, half each.
// CHECK-LABEL: func.func @even_parts
// CHECK: dlas.schedule = {distribute = {d1 = 32 : i64}, {{.*}} tile = {d2 = 6 : i64, d3 = 8 : i64,
module attributes {dlas.target = {name = "t", kind = "cpu", vector_bits = 512 : i64, sparse_bits = 128 : i64, vector_registers = 16 : i64, threads = 2 : i64}} {
func.func @even_parts(%x: tensor<1x64x30x66xf32>, %w: tensor<64x64x3x3xf32>, %start: tensor<1x64x28x64xf32>) -> tensor<1x64x28x64xf32> {
  %y = flow.dispatch.region -> (tensor<1x64x28x64xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
        ins(%x, %w : tensor<1x64x30x66xf32>, tensor<64x64x3x3xf32>) outs(%start : tensor<1x64x28x64xf32>) attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 3686 : i64}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x64x28x64xf32>
    flow.return %1 : tensor<1x64x28x64xf32>
  }
  return %y : tensor<1x64x28x64xf32>
}
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4) -> (d0, d2 floordiv 3, d4, d2 mod 3, d3)>
#weights = affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>
#out = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>

// Rows of seven columns in vectors of eight; a register tile does not leave the packed tile of three rows.
// CHECK-LABEL: func.func @packed_tiles
// CHECK: dlas.schedule = {{.*}} lanes = 8 : i64, {{.*}} tile = {d1 = 4 : i64, d2 = 3 : i64, d3 = 7 : i64, d4 = 16 : i64}, vector = "d3"}
module attributes {dlas.target = {name = "t", kind = "cpu", vector_bits = 256 : i64, vector_registers = 32 : i64}} {
func.func @packed_tiles(%x: tensor<1x2x16x3x7xf32>, %w: tensor<8x16xf32>, %start: tensor<1x8x6x7xf32>) -> tensor<1x8x6x7xf32> {
  %y = flow.dispatch.region -> (tensor<1x8x6x7xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
        ins(%x, %w : tensor<1x2x16x3x7xf32>, tensor<8x16xf32>) outs(%start : tensor<1x8x6x7xf32>) attrs = {dlas.sparse = {block = 4 : i64, nonzeros = 8 : i64}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x8x6x7xf32>
    flow.return %1 : tensor<1x8x6x7xf32>
  }
  return %y : tensor<1x8x6x7xf32>
}
}
