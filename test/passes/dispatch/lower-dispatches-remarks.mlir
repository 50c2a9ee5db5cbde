// Regions that cannot become kernels are dissolved, with a remark that says why.
// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-lower-dispatches
// RUN: %dlas_opt %s --split-input-file --dlas-lower-dispatches 2>/dev/null | FileCheck %s

// CHECK-NOT: flow.dispatch
// CHECK-NOT: dlas.schedule
// CHECK-LABEL: func.func @without_a_schedule
// CHECK: flow.dispatch.region
// CHECK-NOT: flow.dispatch.workgroups

// What a kernel cannot express is said, and left to the compiler.
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: 'linalg.index' in a body cannot be vectorised}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %i = linalg.index 0 : index
      %j = arith.index_cast %i : index to i32
      %k = arith.sitofp %j : i32 to f32
      %s = arith.addf %p, %k : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<6x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: only padding with a constant can be part of a kernel}}
  %y = flow.dispatch.region -> (tensor<6x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    %2 = tensor.pad %1 low[1, 0] high[1, 0] {
    ^bb0(%i: index, %j: index):
      tensor.yield %c : f32
    } : tensor<4x8xf32> to tensor<6x8xf32>
    flow.return %2 : tensor<6x8xf32>
  }
  return %y : tensor<6x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: a kernel's body may only use its arguments and constants}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.mulf %p, %c : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

// What a kernel computes is in registers: nothing else of it can be read.
#id = affine_map<(d0, d1) -> (d0, d1)>
#reversed = affine_map<(d0, d1) -> (3 - d0, d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: a kernel reads its own results only where they are computed}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#reversed, #id], iterator_types = ["parallel", "parallel"]} ins(%0 : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
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
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: a kernel does not read its own results back}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    %t = tensor.extract_slice %0[0, 0] [4, 8] [1, 1] : tensor<4x8xf32> to tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%t : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
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
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<6x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: a kernel inserts its results into nothing that it makes itself}}
  %y = flow.dispatch.region -> (tensor<6x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %zero = arith.constant 0.0 : f32
    %b = tensor.empty() : tensor<6x8xf32>
    %k = linalg.fill ins(%zero : f32) outs(%b : tensor<6x8xf32>) -> tensor<6x8xf32>
    %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    %1 = tensor.insert_slice %0 into %k[1, 0] [4, 8] [1, 1] : tensor<4x8xf32> into tensor<6x8xf32>
    flow.return %1 : tensor<6x8xf32>
  }
  return %y : tensor<6x8xf32>
}

// -----

#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: a kernel returns nothing but what it computes}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %zero = arith.constant 0.0 : f32
    %1 = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
    %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

// Which of four rows stands in the end is not said.
#id = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: a parallel loop that writes the same elements again cannot be part of a kernel}}
  %y = flow.dispatch.region -> (tensor<8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %r = tensor.empty() : tensor<8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #column], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%r : tensor<8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<8xf32>
    flow.return %1 : tensor<8xf32>
  }
  return %y : tensor<8xf32>
}

// -----

// An instruction for something else.
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: `dlas.dot` is for the sum of products of two tensors}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.dot = "vpdpbusd", dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
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
func.func @f(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: `dlas.dot`: there is no 'mul'; there are vpdpbusd}}
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.dot = "mul", dlas.schedule = {kind = "cpu", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

// A dot product loads its operands from tensors; what is filled with one number is none.
func.func @dot_of_a_fill(%w: tensor<16x4xi8>, %start: tensor<16xi32>) -> tensor<16xi32> {
  %x = arith.constant 3 : i8
  // expected-remark@+1 {{left to the compiler's own schedule: a dot product reads two tensors, not a value that fills one}}
  %y = flow.dispatch.region -> (tensor<16xi32>) {
    %e = tensor.empty() : tensor<1x4xi8>
    %f = linalg.fill ins(%x : i8) outs(%e : tensor<1x4xi8>) -> tensor<1x4xi8>
    %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
      ins(%f, %w : tensor<1x4xi8>, tensor<16x4xi8>) outs(%start : tensor<16xi32>)
      attrs = {dlas.dot = "vpdpbusd", dlas.schedule = {kind = "cpu", tile = {d0 = 16}, order = ["d0", "d1"], vector = "d0", lanes = 16}} {
    ^bb0(%a: i8, %b: i8, %acc: i32):
      %p = arith.extui %a : i8 to i32
      %q = arith.extsi %b : i8 to i32
      %m = arith.muli %p, %q : i32
      %s = arith.addi %acc, %m : i32
      linalg.yield %s : i32
    } -> tensor<16xi32>
    flow.return %1 : tensor<16xi32>
  }
  return %y : tensor<16xi32>
}

// -----

// Results that are constants, also after folding: iree-compile mixes up those of a dispatch that reads nothing.
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @constants(%x: tensor<4x8xi32>) -> (tensor<4x8xi32>, tensor<4x8xi32>) {
  // expected-remark@+1 {{left to the compiler's own schedule: a kernel of several results has to read something}}
  %y:2 = flow.dispatch.region -> (tensor<4x8xi32>, tensor<4x8xi32>) {
    %e = tensor.empty() : tensor<4x8xi32>
    %1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %x : tensor<4x8xi32>, tensor<4x8xi32>) outs(%e : tensor<4x8xi32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 8}, order = ["d0", "d1"], vector = "d1", lanes = 8}} {
    ^bb0(%a: i32, %b: i32, %o: i32):
      %s = arith.subi %a, %b : i32
      linalg.yield %s : i32
    } -> tensor<4x8xi32>
    %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%1 : tensor<4x8xi32>) outs(%e : tensor<4x8xi32>) {
    ^bb0(%a: i32, %o: i32):
      %one = arith.constant 1 : i32
      %s = arith.addi %a, %one : i32
      linalg.yield %s : i32
    } -> tensor<4x8xi32>
    flow.return %1, %2 : tensor<4x8xi32>, tensor<4x8xi32>
  }
  return %y#0, %y#1 : tensor<4x8xi32>, tensor<4x8xi32>
}

// -----

// What is filler of a dot product is less than the instruction sums.
func.func @filler(%x: tensor<3x12xbf16>, %w: tensor<3x2x16x2xbf16>, %start: tensor<9x16xf32>) -> tensor<9x16xf32> {
  // expected-remark@+1 {{left to the compiler's own schedule: `dlas.dot_filler` is between 0 and 2}}
  %y = flow.dispatch.region -> (tensor<9x16xf32>) {
    %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4) -> (d2, d0 + d3 * 2 + d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d2, d3, d1, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : tensor<3x12xbf16>, tensor<3x2x16x2xbf16>) outs(%start : tensor<9x16xf32>)
      attrs = {dlas.dot = "vdpbf16ps", dlas.dot_filler = 2 : i64, dlas.schedule = {kind = "cpu", tile = {d1 = 16}, order = ["d0", "d1", "d2", "d3", "d4"], vector = "d1", lanes = 16}} {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %p = arith.extf %a : bf16 to f32
      %q = arith.extf %b : bf16 to f32
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %acc, %m : f32
      linalg.yield %s : f32
    } -> tensor<9x16xf32>
    flow.return %1 : tensor<9x16xf32>
  }
  return %y : tensor<9x16xf32>
}

// -----

// Without a schedule nothing is meant to become a kernel.
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @without_a_schedule(%x: tensor<4x8xf32>, %c: f32) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
