// Attributes that say what layer a kernel is of must be of their kind.
// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-lower-dispatches

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.layer` is missing}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.primitive = "direct",
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.shape` is missing}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.primitive = "direct", dlas.layer = "conv1",
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.primitive` is 5 : i64, not a string}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.primitive = 5 : i64, dlas.layer = "conv1",
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.shape`: a layer's shape: `in_channels`: expected a whole number, at least 0, found 'many'}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.primitive = "direct", dlas.layer = "conv1", dlas.shape = {in_channels = "many", out_channels = 8},
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.zeros` is [1], not a dictionary}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.zeros = [1],
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.zeros`: there is no operand `in1`; there are in0 to in0}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.zeros = {in1 = {low = [0, 1], high = [0, 0]}},
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.zeros`: in0: Object missing required field `high`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.zeros = {in0 = {low = [0, 1]}},
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.zeros`: in0: zeros at the ends of 1 dimensions; there are 2}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.zeros = {in0 = {low = [0], high = [0]}},
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.zeros`: in0: 3 and 2 zeros at the ends of a dimension of 4}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.zeros = {in0 = {low = [3, 0], high = [2, 0]}},
               dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
