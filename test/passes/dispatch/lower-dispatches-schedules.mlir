// A schedule that does not fit its loops is an error that says what is allowed, whoever wrote it.
// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-lower-dispatches

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.schedule`: kind: this workload takes `cpu` or `simt`, not none}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: Object contains unknown field `unroll`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4, unroll = 2}} {
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
    // expected-error@+1 {{`dlas.schedule`: kind: this workload takes `cpu` or `simt`, not `gpu`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "gpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: order has `d0`, `d0`; it must have each of `d0`, `d1` once}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d0"], vector = "d1", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: order has `d0`; it must have each of `d0`, `d1` once}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0"], vector = "d1", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: distribute: 5 iterations of `d0`; it has 4}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4, distribute = {d0 = 5}}} {
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
    // expected-error@+1 {{`dlas.schedule`: distribute: there is no loop `oh`; there are `d0`, `d1`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4, distribute = {oh = 2}}} {
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
    // expected-error@+1 {{`dlas.schedule`: tile: 5 iterations of `d0`; a workgroup has 4}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d0 = 5, d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: tile: 6 iterations of `d1` are no multiple of the 4 lanes}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 6}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: vector: there is no loop `d2`; there are `d0`, `d1`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d2", lanes = 4}} {
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
    // expected-error@+1 {{`dlas.schedule`: lanes: expected at least 1, found 0}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 0}} {
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
    // expected-error@+1 {{`dlas.schedule`: Expected `int`, got `str`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = "four"}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#x = affine_map<(d0, d1) -> (d0, d1)>
#s = affine_map<(d0, d1) -> (d1)>
func.func @f(%x: tensor<12x8xf32>, %start: tensor<8xf32>) -> tensor<8xf32> {
  %y = flow.dispatch.region -> (tensor<8xf32>) {
    // expected-error@+1 {{`dlas.schedule`: order must name the parallel loops before the reductions, `rows`}}
    %1 = linalg.generic {dlas.loops = ["rows", "columns"], indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"]} ins(%x : tensor<12x8xf32>) outs(%start : tensor<8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {columns = 4}, order = ["rows", "columns"], vector = "columns", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<8xf32>
    flow.return %1 : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

#x = affine_map<(d0, d1) -> (d0, d1)>
#s = affine_map<(d0, d1) -> (d1)>
func.func @f(%x: tensor<12x8xf32>, %start: tensor<8xf32>) -> tensor<8xf32> {
  %y = flow.dispatch.region -> (tensor<8xf32>) {
    // expected-error@+1 {{`dlas.schedule`: distribute: `rows` is a reduction; only parallel loops can be distributed}}
    %1 = linalg.generic {dlas.loops = ["rows", "columns"], indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"]} ins(%x : tensor<12x8xf32>) outs(%start : tensor<8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {columns = 4}, order = ["columns", "rows"], vector = "columns", lanes = 4, distribute = {rows = 4}}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<8xf32>
    flow.return %1 : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

#x = affine_map<(d0, d1) -> (d0, d1)>
#s = affine_map<(d0, d1) -> (d1)>
func.func @f(%x: tensor<12x8xf32>, %start: tensor<8xf32>) -> tensor<8xf32> {
  %y = flow.dispatch.region -> (tensor<8xf32>) {
    // expected-error@+1 {{`dlas.schedule`: tile: 5 does not divide the 12 iterations of reduction `rows`}}
    %1 = linalg.generic {dlas.loops = ["rows", "columns"], indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"]} ins(%x : tensor<12x8xf32>) outs(%start : tensor<8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {columns = 4, rows = 5}, order = ["columns", "rows"], vector = "columns", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<8xf32>
    flow.return %1 : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

#x = affine_map<(d0, d1) -> (d0, d1)>
#s = affine_map<(d0, d1) -> (d1)>
func.func @f(%x: tensor<12x8xf32>, %start: tensor<8xf32>) -> tensor<8xf32> {
  %y = flow.dispatch.region -> (tensor<8xf32>) {
    // expected-error@+1 {{`dlas.schedule`: vector: `rows` is not one of the loops of the result, `columns`}}
    %1 = linalg.generic {dlas.loops = ["rows", "columns"], indexing_maps = [#x, #s], iterator_types = ["reduction", "parallel"]} ins(%x : tensor<12x8xf32>) outs(%start : tensor<8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {columns = 4}, order = ["columns", "rows"], vector = "rows", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<8xf32>
    flow.return %1 : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

// Where the target is known, so are the kinds of schedules: threads of a GPU are none of a CPU's,
#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.schedule`: kind: this workload takes `cpu` on a cpu target, not `simt`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "simt", vector = "d1", lanes = 4, tile = {d1 = 4}, order = ["d0", "d1"], threads = 32}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}

// -----

// and vectors of a CPU none of a GPU's.
#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @f(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    // expected-error@+1 {{`dlas.schedule`: kind: this workload takes `simt` on a gpu target, not `cpu`}}
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", vector = "d1", lanes = 4, tile = {d1 = 4}, order = ["d0", "d1"]}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}
