// An attribute that is not for its operation is named.
// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-attach-schedules

#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "eight-lanes", kind = "cpu", vector_bits = 256 : i64, vector_registers = 32 : i64}} {
func.func @no_contraction(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.sparse` is for sums of products of activations and constant weights: this does not read two tensors}}
    %1 = linalg.generic {dlas.sparse = {block = 2 : i64, nonzeros = 1 : i64}, indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = math.absf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "eight-lanes", kind = "cpu", vector_bits = 256 : i64, vector_registers = 32 : i64}} {
func.func @no_product(%x: tensor<4x8xf32>, %y: tensor<4x8xf32>, %start: tensor<4xf32>) -> tensor<4xf32> {
  %z = flow.dispatch.region -> (tensor<4xf32>) {
    // expected-error@+1 {{its body is another}}
    %1 = linalg.generic {dlas.sparse = {block = 2 : i64, nonzeros = 1 : i64}, indexing_maps = [#id, #id, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
      ins(%x, %y : tensor<4x8xf32>, tensor<4x8xf32>) outs(%start : tensor<4xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.mulf %p, %q : f32
      %t = arith.subf %o, %s : f32
      linalg.yield %t : f32
    } -> tensor<4xf32>
    flow.return %1 : tensor<4xf32>
  }
  return %z : tensor<4xf32>
}
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "eight-lanes", kind = "cpu", vector_bits = 256 : i64, vector_registers = 32 : i64}} {
func.func @no_dictionary(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.sparse`: Object missing required field `nonzeros`}}
    %1 = linalg.generic {dlas.sparse = {block = 2 : i64}, indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = math.absf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}
