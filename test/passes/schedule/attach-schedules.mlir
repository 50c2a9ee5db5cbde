// RUN: %dlas_opt %s --split-input-file --dlas-attach-schedules 2>%t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t
// RUN: not %dlas_opt %s --split-input-file --dlas-attach-schedules=rule=fast 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not %dlas_opt %s --split-input-file --dlas-attach-schedules=schedule=rul 2>&1 | FileCheck %s --check-prefix=VALUE

// NAME: error: `dlas-attach-schedules` has no option `rule`; it has `schedule`
// VALUE: error: `schedule`: expected rule or naive or tuned, found `rul` (did you mean `rule`?)

#id = affine_map<(d0, d1) -> (d0, d1)>
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> (d2, d1)>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>

module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {

// Columns are vectors, of as many lanes as a register holds; rows beside each other and vectors beside each other share
// what they load. Only the root is scheduled.
// CHECK-LABEL: func.func @product
// CHECK: ins(%arg0, %arg1
// CHECK-SAME: dlas.schedule = {distribute = {{.*}}, kind = "cpu", lanes = 4 : i64, order = ["{{d0", "d1|d1", "d0}}", "d2"], tile = {d0 = {{[2-9]}} : i64, d1 = {{[0-9]+}} : i64}, vector = "d1"}
// CHECK: arith.maximumf
// CHECK-NOT: dlas.schedule
// CHECK: return
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
    %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%1 : tensor<24x16xf32>) outs(%e : tensor<24x16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.maximumf %p, %zero : f32
      linalg.yield %t : f32
    } -> tensor<24x16xf32>
    flow.return %2 : tensor<24x16xf32>
  }
  return %y : tensor<24x16xf32>
}

// Fewer elements than lanes: narrower vectors.
// CHECK-LABEL: func.func @narrow
// CHECK: lanes = 2 : i64
// CHECK-SAME: vector = "d1"
func.func @narrow(%x: tensor<4x3xf32>) -> tensor<4x3xf32> {
  %y = flow.dispatch.region -> (tensor<4x3xf32>) {
    %e = tensor.empty() : tensor<4x3xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x3xf32>) outs(%e : tensor<4x3xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<4x3xf32>
    flow.return %1 : tensor<4x3xf32>
  }
  return %y : tensor<4x3xf32>
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

// A region in which there is nothing to schedule.
// CHECK-LABEL: func.func @nothing
// CHECK-NOT: dlas.schedule
func.func @nothing(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    flow.return %x : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}

// -----

// Rows are split for two threads.
// CHECK-LABEL: func.func @two_threads
// CHECK: dlas.schedule = {distribute = {d0 = {{[1-9][0-9]*}} : i64}
#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64, threads = 2 : i64}} {
func.func @two_threads(%x: tensor<1024x64xf32>) -> tensor<1024x64xf32> {
  %y = flow.dispatch.region -> (tensor<1024x64xf32>) {
    %e = tensor.empty() : tensor<1024x64xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<1024x64xf32>) outs(%e : tensor<1024x64xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<1024x64xf32>
    flow.return %1 : tensor<1024x64xf32>
  }
  return %y : tensor<1024x64xf32>
}
}

// -----

// On a GPU each thread has a vector; a type that it does not compute with is left alone.
// CHECK-LABEL: func.func @gpu
// CHECK: dlas.schedule = {kind = "simt", lanes = 4 : i64, order = ["d0", "d1"], threads = 32 : i64, tile = {d1 = 4 : i64}, vector = "d1"}
// CHECK-NOT: dlas.schedule
// REMARK: remark: left to the compiler's own schedule: no kernel of this workload for the gpu target gpu: it is no sum of products of two operands; gpu does not compute with i8
#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "gpu", kind = "gpu"}} {
func.func @gpu(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
func.func @codes(%x: tensor<4x8xi8>) -> tensor<4x8xi8> {
  %y = flow.dispatch.region -> (tensor<4x8xi8>) {
    %e = tensor.empty() : tensor<4x8xi8>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xi8>) outs(%e : tensor<4x8xi8>) {
    ^bb0(%p: i8, %o: i8):
      %t = arith.addi %p, %p : i8
      linalg.yield %t : i8
    } -> tensor<4x8xi8>
    flow.return %1 : tensor<4x8xi8>
  }
  return %y : tensor<4x8xi8>
}
}

// -----

// A region without an operation that a kernel can be made of is dissolved.
// REMARK: remark: left to the compiler's own schedule: 'linalg.index' in a body cannot be vectorised
// CHECK-LABEL: func.func @no_kernel
// CHECK-NOT: flow.dispatch.region
// CHECK: %[[Y:.*]] = linalg.generic
// CHECK: return %[[Y]]
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

// -----

// A loop of the result is none of a sum, whatever it is called.
// CHECK-LABEL: func.func @called_reduction
// CHECK: dlas.schedule = {{.*}} order = ["d0", "d1"]
// CHECK-SAME: vector = "d1"
#id = affine_map<(d0, d1) -> (d0, d1)>
module attributes {dlas.target = {name = "four-lanes", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64}} {
func.func @called_reduction(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["reduction", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.negf %p : f32
      linalg.yield %t : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
}
