// RUN: %dlas_opt %s --split-input-file --dlas-attach-schedules=schedule=naive 2>%t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

#id = affine_map<(d0, d1) -> (d0, d1)>
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> (d2, d1)>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64, threads = 2 : i64}} {

// One vector of columns at a time, loops as they are, half of the rows for each thread.
// CHECK-LABEL: func.func @product
// CHECK: dlas.schedule = {distribute = {d0 = 12 : i64}, kind = "cpu", lanes = 4 : i64, order = ["d0", "d1", "d2"], tile = {d1 = 4 : i64}, vector = "d1"}
func.func @product(%x: tensor<24x3xf32>, %w: tensor<3x16xf32>) -> tensor<24x16xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<24x16xf32>) {
    %e = tensor.empty() : tensor<24x16xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<24x16xf32>) -> tensor<24x16xf32>
    %1 = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<24x3xf32>, tensor<3x16xf32>) outs(%start : tensor<24x16xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<24x16xf32>
    flow.return %1 : tensor<24x16xf32>
  }
  return %y : tensor<24x16xf32>
}

// The outermost loop has no second iteration; of the other, each thread gets whole vectors.
// CHECK-LABEL: func.func @columns
// CHECK: dlas.schedule = {distribute = {d1 = 12 : i64}, kind = "cpu", lanes = 4 : i64, order = ["d1"], tile = {d1 = 4 : i64}, vector = "d1"}
func.func @columns(%x: tensor<1x20xf32>) -> tensor<1x20xf32> {
  %y = flow.dispatch.region -> (tensor<1x20xf32>) {
    %e = tensor.empty() : tensor<1x20xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<1x20xf32>) outs(%e : tensor<1x20xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<1x20xf32>
    flow.return %1 : tensor<1x20xf32>
  }
  return %y : tensor<1x20xf32>
}

// A schedule that was written by hand stays.
// CHECK-LABEL: func.func @by_hand
// CHECK: dlas.schedule = {kind = "cpu", lanes = 1 : i64, order = ["d1", "d0"], vector = "d0"}
func.func @by_hand(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", lanes = 1 : i64, order = ["d1", "d0"], vector = "d0"}} {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

// Sparse weights: a vector of pixels for the two channels of a block, all input channels in one chunk.
// CHECK-LABEL: func.func @convolution
// CHECK: dlas.schedule = {distribute = {d2 = 8 : i64}, kind = "sparse", lanes = 16 : i64, order = ["d2", "d3", "d1", "d4", "d5", "d6"], tile = {d1 = 2 : i64, d3 = 16 : i64, d4 = 64 : i64}, vector = "d3"}
module attributes {dlas.target = {name = "t", kind = "cpu", vector_bits = 512 : i64, sparse_bits = 256 : i64, vector_registers = 32 : i64, threads = 2 : i64}} {
func.func @convolution(%x: tensor<1x64x18x18xf32>, %w: tensor<64x64x3x3xf32>, %start: tensor<1x64x16x16xf32>) -> tensor<1x64x16x16xf32> {
  %y = flow.dispatch.region -> (tensor<1x64x16x16xf32>) {
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
        ins(%x, %w : tensor<1x64x18x18xf32>, tensor<64x64x3x3xf32>) outs(%start : tensor<1x64x16x16xf32>) attrs = {dlas.sparse = {block = 2 : i64, nonzeros = 1843 : i64}} {
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

// What is no kernel is left, whoever finds the schedules.
// REMARK: remark: left to the compiler's own schedule: 'linalg.index' in a body cannot be vectorised
// CHECK-LABEL: func.func @no_kernel
// CHECK-NOT: dlas.schedule
#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @no_kernel() -> tensor<4x8xi32> {
  %y = flow.dispatch.region -> (tensor<4x8xi32>) {
    %e = tensor.empty() : tensor<4x8xi32>
    %1 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<4x8xi32>) {
    ^bb0(%o: i32):
      %i = linalg.index 0 : index
      %j = arith.index_cast %i : index to i32
      linalg.yield %j : i32
    } -> tensor<4x8xi32>
    flow.return %1 : tensor<4x8xi32>
  }
  return %y : tensor<4x8xi32>
}
}
