// RUN: %dlas_opt %s --split-input-file --dlas-lower-dispatches --canonicalize --cse 2>%t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

// Channel 0 has the taps (0, 0) and (1, 1), channel 1 has (0, 1): in rows of four, at 0, 5 and 1. Three columns in four
// lanes: the idle one of the first row reads what comes after it, that of the second row what comes before it. Busy
// lanes are written as two overlapping pairs. The dense weights are gone.
// CHECK-LABEL: func.func @rows
// CHECK-DAG: %[[STARTS:.*]] = arith.constant dense<[0, 2, 3]> : tensor<3xi32>
// CHECK-DAG: %[[PLACES:.*]] = arith.constant dense<[0, 5, 1]> : tensor<3xi16>
// CHECK-DAG: %[[VALUES:.*]] = arith.constant dense<[1.000000e+00, 2.000000e+00, 3.000000e+00]> : tensor<3xf32>
// CHECK-NOT: tensor<2x1x2x2xf32>
// CHECK: flow.dispatch.workgroups(%arg0, %[[STARTS]], %[[PLACES]], %[[VALUES]])
// CHECK: %[[FLAT:.*]] = tensor.collapse_shape {{.*}} tensor<1x1x3x4xf32> into tensor<12xf32>
// CHECK: scf.for {{.*}} = %c0 to %c2 step %c1
// CHECK: %[[LOW:.*]] = tensor.extract
// CHECK: %[[HIGH:.*]] = tensor.extract
// CHECK: %[[SUMS:.*]]:2 = scf.for %[[J:.*]] = %{{.*}} to %{{.*}} step %c1 iter_args({{.*}}) -> (vector<4xf32>, vector<4xf32>)
// CHECK: arith.index_castui {{.*}} : i16 to index
// CHECK: tensor.extract {{.*}}[%[[J]]] : tensor<3xf32>
// CHECK: vector.broadcast
// CHECK: vector.transfer_read %[[FLAT]]
// CHECK: vector.fma
// CHECK: vector.transfer_read %[[FLAT]]
// CHECK: vector.fma
// CHECK: vector.shuffle %[[SUMS]]#0, %{{.*}} [0, 1]
// CHECK: vector.transfer_write
// CHECK: vector.shuffle %[[SUMS]]#0, %{{.*}} [1, 2]
// CHECK: vector.transfer_write
// CHECK: vector.shuffle %[[SUMS]]#1, %{{.*}} [1, 2]
// CHECK: vector.shuffle %[[SUMS]]#1, %{{.*}} [2, 3]
func.func @rows(%x: tensor<1x1x3x4xf32>) -> tensor<1x2x2x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]]], [[[0.0, 3.0], [0.0, 0.0]]]]> : tensor<2x1x2x2xf32>
  %y = flow.dispatch.region -> (tensor<1x2x2x3xf32>) {
    %e = tensor.empty() : tensor<1x2x2x3xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x2x3xf32>) -> tensor<1x2x2x3xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
        ins(%x, %w : tensor<1x1x3x4xf32>, tensor<2x1x2x2xf32>) outs(%start : tensor<1x2x2x3xf32>)
        attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64},
                 dlas.schedule = {kind = "sparse", tile = {d2 = 2, d3 = 3}, order = ["d0", "d2", "d3", "d1", "d4", "d5", "d6"], vector = "d3", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x2x2x3xf32>
    flow.return %1 : tensor<1x2x2x3xf32>
  }
  return %y : tensor<1x2x2x3xf32>
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

// Blocks of two output channels share what they read. The sums of the first of two chunks of channels are left in the
// result, and what follows the convolution is done after the second. Six columns are two vectors that overlap.
// CHECK-LABEL: func.func @blocks_and_chunks
// CHECK: flow.dispatch.workgroups
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK: vector.transfer_read
// CHECK: vector.fma
// CHECK: vector.fma
// CHECK: vector.transfer_read
// CHECK: vector.fma
// CHECK: vector.fma
// CHECK: scf.yield
// CHECK-NOT: arith.maximumf
// CHECK-COUNT-4: vector.transfer_write
// CHECK-COUNT-4: vector.transfer_read
// CHECK: scf.for {{.*}} -> (vector<4xf32>, vector<4xf32>, vector<4xf32>, vector<4xf32>)
// CHECK: arith.maximumf
// CHECK-COUNT-4: vector.transfer_write
func.func @blocks_and_chunks(%x: tensor<1x4x1x6xf32>) -> tensor<1x4x1x6xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0]], [[0.0]], [[2.0]], [[3.0]]], [[[0.0]], [[0.0]], [[4.0]], [[5.0]]], [[[0.0]], [[0.0]], [[0.0]], [[6.0]]], [[[0.0]], [[0.0]], [[0.0]], [[7.0]]]]> : tensor<4x4x1x1xf32>
  %y = flow.dispatch.region -> (tensor<1x4x1x6xf32>) {
    %e = tensor.empty() : tensor<1x4x1x6xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x4x1x6xf32>) -> tensor<1x4x1x6xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
        ins(%x, %w : tensor<1x4x1x6xf32>, tensor<4x4x1x1xf32>) outs(%start : tensor<1x4x1x6xf32>)
        attrs = {dlas.sparse = {block = 2 : i64, nonzeros = 4 : i64},
                 dlas.schedule = {kind = "sparse", tile = {d1 = 2, d3 = 6, d4 = 2}, order = ["d0", "d2", "d3", "d1", "d4", "d5", "d6"], vector = "d3", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x4x1x6xf32>
    %2 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>, affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%1 : tensor<1x4x1x6xf32>) outs(%e : tensor<1x4x1x6xf32>) {
    ^bb0(%p: f32, %o: f32):
      %t = arith.maximumf %p, %zero : f32
      linalg.yield %t : f32
    } -> tensor<1x4x1x6xf32>
    flow.return %2 : tensor<1x4x1x6xf32>
  }
  return %y : tensor<1x4x1x6xf32>
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4) -> (d0, d4, d2, d3)>
#weights = affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>
#out = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>

// Workgroups of two rows overlap in three: no sums are left in the result, where another workgroup would read them.
// CHECK-LABEL: func.func @overlapping_workgroups
// CHECK: flow.dispatch.workgroup.id
// CHECK: affine.min
// CHECK: scf.for {{.*}} -> (vector<4xf32>)
// CHECK: vector.fma
// CHECK: vector.transfer_write
// CHECK-NOT: scf.for {{.*}} -> (vector<4xf32>)
// CHECK: return
func.func @overlapping_workgroups(%x: tensor<1x4x3x4xf32>) -> tensor<1x2x3x4xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[1.0, 0.0, 2.0, 3.0], [0.0, 0.0, 4.0, 5.0]]> : tensor<2x4xf32>
  %y = flow.dispatch.region -> (tensor<1x2x3x4xf32>) {
    %e = tensor.empty() : tensor<1x2x3x4xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x3x4xf32>) -> tensor<1x2x3x4xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
        ins(%x, %w : tensor<1x4x3x4xf32>, tensor<2x4xf32>) outs(%start : tensor<1x2x3x4xf32>)
        attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 5 : i64},
                 dlas.schedule = {kind = "sparse", distribute = {d2 = 2}, tile = {d3 = 4, d4 = 2}, order = ["d0", "d2", "d3", "d1", "d4"], vector = "d3", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x2x3x4xf32>
    flow.return %1 : tensor<1x2x3x4xf32>
  }
  return %y : tensor<1x2x3x4xf32>
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4) -> (d0, d4, d2, d3)>
#weights = affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>
#out = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>

// Weights that come from outside have no zeros to skip: the region is dissolved.
// REMARK: remark: left to the compiler's own schedule: the weights of a sparse contraction are not constant
// CHECK-LABEL: func.func @not_constant
// CHECK-NOT: flow.dispatch
// CHECK: %[[Y:.*]] = linalg.generic
// CHECK: return %[[Y]]
func.func @not_constant(%x: tensor<1x2x1x4xf32>, %w: tensor<2x2xf32>) -> tensor<1x2x1x4xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<1x2x1x4xf32>) {
    %e = tensor.empty() : tensor<1x2x1x4xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x1x4xf32>) -> tensor<1x2x1x4xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
        ins(%x, %w : tensor<1x2x1x4xf32>, tensor<2x2xf32>) outs(%start : tensor<1x2x1x4xf32>)
        attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64},
                 dlas.schedule = {kind = "sparse", tile = {d3 = 4}, order = ["d0", "d2", "d3", "d1", "d4"], vector = "d3", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x2x1x4xf32>
    flow.return %1 : tensor<1x2x1x4xf32>
  }
  return %y : tensor<1x2x1x4xf32>
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4) -> (d0, d4, d2, d3)>
#weights = affine_map<(d0, d1, d2, d3, d4) -> (d1, d4)>
#out = affine_map<(d0, d1, d2, d3, d4) -> (d0, d1, d2, d3)>

// The order of a schedule is kept, or refused.
// REMARK: remark: left to the compiler's own schedule: the output channels of a sparse contraction are its innermost parallel loop
// CHECK-LABEL: func.func @channels_outermost
// CHECK-NOT: flow.dispatch
func.func @channels_outermost(%x: tensor<1x2x1x4xf32>) -> tensor<1x2x1x4xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[1.0, 0.0], [0.0, 2.0]]> : tensor<2x2xf32>
  %y = flow.dispatch.region -> (tensor<1x2x1x4xf32>) {
    %e = tensor.empty() : tensor<1x2x1x4xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x1x4xf32>) -> tensor<1x2x1x4xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
        ins(%x, %w : tensor<1x2x1x4xf32>, tensor<2x2xf32>) outs(%start : tensor<1x2x1x4xf32>)
        attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 2 : i64},
                 dlas.schedule = {kind = "sparse", tile = {d3 = 4}, order = ["d1", "d3", "d4"], vector = "d3", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x2x1x4xf32>
    flow.return %1 : tensor<1x2x1x4xf32>
  }
  return %y : tensor<1x2x1x4xf32>
}

// -----

// The attribute is for contractions only.
// REMARK: remark: left to the compiler's own schedule: `dlas.sparse` is for sums of products of activations and constant weights: this does not read two tensors
// CHECK-LABEL: func.func @no_contraction
// CHECK-NOT: flow.dispatch
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @no_contraction(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64},
               dlas.schedule = {kind = "sparse", tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = math.absf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// -----

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>
#here = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2, d3)>
#turned = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3, d2)>

// Where lanes are gathered, idle ones are not: they hold what the first busy one does. The last row's stands before them.
// CHECK-LABEL: func.func @idle_lanes_are_not_gathered
// CHECK: flow.dispatch.workgroups
// CHECK: %[[TURNED:.*]] = iree_tensor_ext.dispatch.tensor.load {{.*}} -> tensor<1x2x3x2xf32>
// CHECK: scf.for %[[K:.*]] = %c0 to %c2 step %c1
// CHECK: scf.for
// CHECK: scf.yield
// CHECK-COUNT-3: tensor.extract %[[TURNED]]
// CHECK-NEXT: vector.from_elements %[[A:.*]], %{{.*}}, %{{.*}}, %[[A]] : vector<4xf32>
// CHECK-COUNT-3: tensor.extract %[[TURNED]]
// CHECK-NEXT: vector.from_elements %[[B:.*]], %[[B]], %{{.*}}, %{{.*}} : vector<4xf32>
// CHECK-NOT: tensor.extract %[[TURNED]]
func.func @idle_lanes_are_not_gathered(%x: tensor<1x1x3x4xf32>, %r: tensor<1x2x3x2xf32>) -> tensor<1x2x2x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]]], [[[0.0, 3.0], [0.0, 0.0]]]]> : tensor<2x1x2x2xf32>
  %y = flow.dispatch.region -> (tensor<1x2x2x3xf32>) {
    %e = tensor.empty() : tensor<1x2x2x3xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x2x3xf32>) -> tensor<1x2x2x3xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
        ins(%x, %w : tensor<1x1x3x4xf32>, tensor<2x1x2x2xf32>) outs(%start : tensor<1x2x2x3xf32>)
        attrs = {dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64},
                 dlas.schedule = {kind = "sparse", tile = {d2 = 2, d3 = 3}, order = ["d0", "d2", "d3", "d1", "d4", "d5", "d6"], vector = "d3", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x2x2x3xf32>
    %2 = linalg.generic {indexing_maps = [#here, #turned, #here], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
        ins(%1, %r : tensor<1x2x2x3xf32>, tensor<1x2x3x2xf32>) outs(%e : tensor<1x2x2x3xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<1x2x2x3xf32>
    flow.return %2 : tensor<1x2x2x3xf32>
  }
  return %y : tensor<1x2x2x3xf32>
}
