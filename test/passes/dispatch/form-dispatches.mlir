// RUN: %dlas_opt %s --dlas-form-dispatches | FileCheck %s
// RUN: %dlas_opt %s --dlas-form-dispatches=bindings=3 | FileCheck %s --check-prefix=FEW
// RUN: not %dlas_opt %s --dlas-form-dispatches=fuse=0 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not %dlas_opt %s --dlas-form-dispatches=bindings=1 2>&1 | FileCheck %s --check-prefix=RANGE

// NAME: error: `dlas-form-dispatches` has no option `fuse`; it has `bindings`
// RANGE: error: `bindings`: expected at least 2, found 1

#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> (d2, d1)>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>

// The activation joins the product. The gate reads a sum over the product, so it waits outside.
// CHECK-LABEL: func.func @gate
// CHECK: %[[Y:.*]] = flow.dispatch.region -> (tensor<4x8xf32>)
// CHECK: linalg.fill
// CHECK: arith.mulf
// CHECK: arith.maximumf
// CHECK: flow.return
// CHECK: %[[SUM:.*]] = flow.dispatch.region -> (tensor<4xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[Y]]
// CHECK: flow.return
// CHECK: flow.dispatch.region -> (tensor<4x8xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[Y]], %[[SUM]]
// CHECK: flow.return
func.func @gate(%x: tensor<4x4xf32>, %w: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %er = tensor.empty() : tensor<4xf32>
  %start = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %startr = linalg.fill ins(%zero : f32) outs(%er : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<4x4xf32>, tensor<4x8xf32>) outs(%start : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %m = arith.mulf %p, %q : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %act = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p: f32, %o: f32):
    %m = arith.maximumf %p, %zero : f32
    linalg.yield %m : f32
  } -> tensor<4x8xf32>
  %sum = linalg.generic {indexing_maps = [#id, #row], iterator_types = ["parallel", "reduction"]} ins(%act : tensor<4x8xf32>) outs(%startr : tensor<4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %m = arith.addf %p, %o : f32
    linalg.yield %m : f32
  } -> tensor<4xf32>
  %gated = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%act, %sum : tensor<4x8xf32>, tensor<4xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %m = arith.mulf %p, %q : f32
    linalg.yield %m : f32
  } -> tensor<4x8xf32>
  return %gated : tensor<4x8xf32>
}

// A residual addition joins the product that can go last, with the slice that it reads; padded and bare it is a region
// of two results.
// CHECK-LABEL: func.func @residual
// CHECK: %[[Z:.*]] = flow.dispatch.region -> (tensor<4x8xf32>)
// CHECK: %[[Y:.*]]:2 = flow.dispatch.region -> (tensor<4x8xf32>, tensor<6x8xf32>)
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %arg0
// CHECK: %[[PRODUCT:.*]] = linalg.generic {{.*}} ins(%[[SLICE]], %arg1
// CHECK: %[[ADDED:.*]] = linalg.generic {{.*}} ins(%[[PRODUCT]], %[[Z]]
// CHECK: %[[PADDED:.*]] = tensor.pad %[[ADDED]]
// CHECK: flow.return %[[ADDED]], %[[PADDED]]
// CHECK: return %[[Y]]#1, %[[Y]]#0
func.func @residual(%x: tensor<4x4xf32>, %w: tensor<4x8xf32>, %r: tensor<4x8xf32>) -> (tensor<6x8xf32>, tensor<4x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x8xf32>
  %start = linalg.fill ins(%zero : f32) outs(%e : tensor<4x8xf32>) -> tensor<4x8xf32>
  %top = tensor.extract_slice %x[0, 0] [4, 4] [1, 1] : tensor<4x4xf32> to tensor<4x4xf32>
  %y = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%top, %w : tensor<4x4xf32>, tensor<4x8xf32>) outs(%start : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %m = arith.mulf %p, %q : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %z = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<4x4xf32>, tensor<4x8xf32>) outs(%start : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %m = arith.mulf %p, %q : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %sum = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%y, %z : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %padded = tensor.pad %sum low[1, 0] high[1, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<4x8xf32> to tensor<6x8xf32>
  return %padded, %sum : tensor<6x8xf32>, tensor<4x8xf32>
}

// Padding of what no kernel computes is a copy with padding.
// CHECK-LABEL: func.func @input
// CHECK: flow.dispatch.region -> (tensor<6x6xf32>)
// CHECK: %[[COPY:.*]] = linalg.generic {{.*}} ins(%arg0
// CHECK: tensor.pad %[[COPY]]
func.func @input(%x: tensor<4x4xf32>) -> tensor<6x6xf32> {
  %zero = arith.constant 0.0 : f32
  %p = tensor.pad %x low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  return %p : tensor<6x6xf32>
}

// A value is inserted into a buffer as it is computed, but not where it is to be inserted into that once more:
// iree-compile would place one result of the dispatch in the other.
// CHECK-LABEL: func.func @insertion(
// CHECK: %[[Y:.*]]:2 = flow.dispatch.region -> (tensor<4x4xf32>, tensor<4x10xf32>)
// CHECK: tensor.insert_slice {{.*}}[0, 2]
// CHECK: flow.return
// CHECK: return %[[Y]]#1, %[[Y]]#0
func.func @insertion(%x: tensor<4x4xf32>) -> (tensor<4x10xf32>, tensor<4x4xf32>) {
  %e = tensor.empty() : tensor<4x4xf32>
  %b = tensor.empty() : tensor<4x10xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %1 = tensor.insert_slice %y into %b[0, 2] [4, 4] [1, 1] : tensor<4x4xf32> into tensor<4x10xf32>
  return %1, %y : tensor<4x10xf32>, tensor<4x4xf32>
}

// CHECK-LABEL: func.func @insertion_twice
// CHECK: %[[Y:.*]] = flow.dispatch.region -> (tensor<4x4xf32>)
// CHECK: %[[FIRST:.*]] = tensor.insert_slice %[[Y]] into %{{.*}}[0, 2]
// CHECK: tensor.insert_slice %[[Y]] into %[[FIRST]][0, 6]
func.func @insertion_twice(%x: tensor<4x4xf32>) -> tensor<4x10xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  %b = tensor.empty() : tensor<4x10xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %1 = tensor.insert_slice %y into %b[0, 2] [4, 4] [1, 1] : tensor<4x4xf32> into tensor<4x10xf32>
  %2 = tensor.insert_slice %y into %1[0, 6] [4, 4] [1, 1] : tensor<4x4xf32> into tensor<4x10xf32>
  return %2 : tensor<4x10xf32>
}

// An insertion with gaps, as in front of a transposed convolution, is no part of a kernel.
// CHECK-LABEL: func.func @spread
// CHECK: %[[Y:.*]] = flow.dispatch.region -> (tensor<4x4xf32>)
// CHECK: flow.return
// CHECK: tensor.insert_slice %[[Y]] into {{.*}}[0, 1] [4, 4] [1, 2]
func.func @spread(%x: tensor<4x4xf32>, %b: tensor<4x10xf32>) -> tensor<4x10xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %1 = tensor.insert_slice %y into %b[0, 1] [4, 4] [1, 2] : tensor<4x4xf32> into tensor<4x10xf32>
  return %1 : tensor<4x10xf32>
}

// The addition reads what is gathered from the negation, from within a body: it waits outside.
// CHECK-LABEL: func.func @gather
// CHECK: %[[Y:.*]] = flow.dispatch.region -> (tensor<4x4xf32>)
// CHECK: arith.negf
// CHECK-NOT: arith.addf
// CHECK: flow.return
// CHECK: %[[G:.*]] = linalg.generic
// CHECK: tensor.extract %[[Y]]
// CHECK: flow.dispatch.region -> (tensor<4x4xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[Y]], %[[G]]
// CHECK: arith.addf
func.func @gather(%x: tensor<4x4xf32>, %at: tensor<4x4xindex>) -> tensor<4x4xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  %c0 = arith.constant 0 : index
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %g = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%at : tensor<4x4xindex>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%i: index, %o: f32):
    %s = tensor.extract %y[%c0, %i] : tensor<4x4xf32>
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %z = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%y, %g : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  return %z : tensor<4x4xf32>
}

// A buffer that is filled is updated in place, by one insertion of each region; a fill that is read is in the region.
// CHECK-LABEL: func.func @insertion_into_a_fill
// CHECK: %[[FILL:.*]] = linalg.fill {{.*}} -> tensor<4x10xf32>
// CHECK: %[[Y:.*]]:2 = flow.dispatch.region -> (tensor<4x4xf32>, tensor<4x10xf32>)
// CHECK: linalg.fill {{.*}} -> tensor<4xf32>
// CHECK: tensor.insert_slice {{.*}} into %[[FILL]][0, 2]
// CHECK: flow.return
// CHECK: tensor.insert_slice %[[Y]]#0 into %[[FILL]][0, 6]
func.func @insertion_into_a_fill(%x: tensor<4x4xf32>) -> (tensor<4x10xf32>, tensor<4x10xf32>) {
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %b = tensor.empty() : tensor<4x10xf32>
  %r = tensor.empty() : tensor<4xf32>
  %k = linalg.fill ins(%two : f32) outs(%b : tensor<4x10xf32>) -> tensor<4x10xf32>
  %row = linalg.fill ins(%two : f32) outs(%r : tensor<4xf32>) -> tensor<4xf32>
  %y = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %row : tensor<4x4xf32>, tensor<4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %1 = tensor.insert_slice %y into %k[0, 2] [4, 4] [1, 1] : tensor<4x4xf32> into tensor<4x10xf32>
  %2 = tensor.insert_slice %y into %k[0, 6] [4, 4] [1, 1] : tensor<4x4xf32> into tensor<4x10xf32>
  return %1, %2 : tensor<4x10xf32>, tensor<4x10xf32>
}

// What a kernel cannot read through stays outside: slices with strides, fills with what is computed. So does padding with
// what is computed.
// CHECK-LABEL: func.func @outside
// CHECK: %[[SLICE:.*]] = tensor.extract_slice %arg0[0, 0] [4, 4] [1, 2]
// CHECK: %[[FILL:.*]] = linalg.fill ins(%arg1
// CHECK: %[[Y:.*]] = flow.dispatch.region -> (tensor<4x4xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[SLICE]], %[[FILL]]
// CHECK: flow.return
// CHECK: tensor.pad %[[Y]]
func.func @outside(%x: tensor<4x8xf32>, %c: f32) -> tensor<6x4xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  %slice = tensor.extract_slice %x[0, 0] [4, 4] [1, 2] : tensor<4x8xf32> to tensor<4x4xf32>
  %k = linalg.fill ins(%c : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %y = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%slice, %k : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %p = tensor.pad %y low[1, 0] high[1, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %c : f32
  } : tensor<4x4xf32> to tensor<6x4xf32>
  return %p : tensor<6x4xf32>
}

// Results of one element, scalars among the operands and in bodies are left to the compiler.
// CHECK-LABEL: func.func @no_loops
// CHECK-NOT: flow.dispatch.region
// CHECK: return
func.func @no_loops(%x: tensor<4x8xf32>, %c: f32) -> (tensor<1xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<0x8xf32>) {
  %e = tensor.empty() : tensor<1xf32>
  %k = linalg.fill ins(%c : f32) outs(%e : tensor<1xf32>) -> tensor<1xf32>
  %1 = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1) -> (0)>], iterator_types = ["reduction", "reduction"]} ins(%x : tensor<4x8xf32>) outs(%k : tensor<1xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<1xf32>
  %e2 = tensor.empty() : tensor<4x8xf32>
  %2 = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1) -> ()>, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %c : tensor<4x8xf32>, f32) outs(%e2 : tensor<4x8xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e2 : tensor<4x8xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %p, %c : f32
    linalg.yield %s : f32
  } -> tensor<4x8xf32>
  %e4 = tensor.empty() : tensor<0x8xf32>
  %4 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e4 : tensor<0x8xf32>) {
  ^bb0(%o: f32):
    linalg.yield %o : f32
  } -> tensor<0x8xf32>
  return %1, %2, %3, %4 : tensor<1xf32>, tensor<4x8xf32>, tensor<4x8xf32>, tensor<0x8xf32>
}

// Dynamic shapes, results without dimensions, truth values, and bodies that are more than arithmetic are left to the compiler.
// CHECK-LABEL: func.func @left_alone
// CHECK-NOT: flow.dispatch.region
// CHECK: return
func.func @left_alone(%x: tensor<?x4xf32>, %y: tensor<4x4xf32>)
    -> (tensor<?x4xf32>, tensor<f32>, tensor<4x4xindex>, tensor<4x4xi1>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %n = tensor.dim %x, %c0 : tensor<?x4xf32>
  %e = tensor.empty(%n) : tensor<?x4xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<?x4xf32>) outs(%e : tensor<?x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<?x4xf32>
  %e0 = tensor.empty() : tensor<f32>
  %start = linalg.fill ins(%zero : f32) outs(%e0 : tensor<f32>) -> tensor<f32>
  %2 = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1) -> ()>], iterator_types = ["reduction", "reduction"]} ins(%y : tensor<4x4xf32>) outs(%start : tensor<f32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.addf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<f32>
  %e3 = tensor.empty() : tensor<4x4xindex>
  %3 = linalg.generic {indexing_maps = [#id], iterator_types = ["parallel", "parallel"]} outs(%e3 : tensor<4x4xindex>) {
  ^bb0(%o: index):
    %s = linalg.index 0 : index
    linalg.yield %s : index
  } -> tensor<4x4xindex>
  %e4 = tensor.empty() : tensor<4x4xi1>
  %4 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<4x4xf32>) outs(%e4 : tensor<4x4xi1>) {
  ^bb0(%p: f32, %o: i1):
    %s = arith.cmpf oeq, %p, %zero : f32
    linalg.yield %s : i1
  } -> tensor<4x4xi1>
  return %1, %2, %3, %4 : tensor<?x4xf32>, tensor<f32>, tensor<4x4xindex>, tensor<4x4xi1>
}

// A sum of many tensors is one region, or as many as its tensors need.
// CHECK-LABEL: func.func @many
// CHECK-COUNT-1: flow.dispatch.region
// CHECK-NOT: flow.dispatch.region
// FEW-LABEL: func.func @many
// FEW: %[[FIRST:.*]] = flow.dispatch.region
// FEW: linalg.generic {{.*}} ins(%arg0, %arg1
// FEW-NOT: linalg.generic
// FEW: flow.return
// FEW: flow.dispatch.region
// FEW: linalg.generic {{.*}} ins(%[[FIRST]], %arg2
// FEW-NEXT: ^bb0
// FEW: linalg.generic
// FEW: arith.negf
func.func @many(%x: tensor<4x4xf32>, %y: tensor<4x4xf32>, %z: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %e = tensor.empty() : tensor<4x4xf32>
  %1 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%x, %y : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel", "parallel"]} ins(%1, %z : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%2 : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}

// What a dot product reads is loaded, be it a fill; what it starts from is not.
// CHECK-LABEL: func.func @dot_of_a_fill
// CHECK: %[[DATA:.*]] = linalg.fill
// CHECK: flow.dispatch.region
// CHECK: %[[ZEROS:.*]] = linalg.fill
// CHECK: linalg.generic {{.*}} ins(%[[DATA]], %arg0 : tensor<1x4xi8>, tensor<16x4xi8>) outs(%[[ZEROS]] : tensor<16xi32>)
func.func @dot_of_a_fill(%w: tensor<16x4xi8>) -> tensor<16xi32> {
  %three = arith.constant 3 : i8
  %zero = arith.constant 0 : i32
  %e = tensor.empty() : tensor<1x4xi8>
  %f = linalg.fill ins(%three : i8) outs(%e : tensor<1x4xi8>) -> tensor<1x4xi8>
  %d = tensor.empty() : tensor<16xi32>
  %zeros = linalg.fill ins(%zero : i32) outs(%d : tensor<16xi32>) -> tensor<16xi32>
  %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]}
    ins(%f, %w : tensor<1x4xi8>, tensor<16x4xi8>) outs(%zeros : tensor<16xi32>) attrs = {dlas.dot = "vpdpbusd"} {
  ^bb0(%a: i8, %b: i8, %acc: i32):
    %p = arith.extui %a : i8 to i32
    %q = arith.extsi %b : i8 to i32
    %m = arith.muli %p, %q : i32
    %s = arith.addi %acc, %m : i32
    linalg.yield %s : i32
  } -> tensor<16xi32>
  return %1 : tensor<16xi32>
}

// What is padded to be inserted is padded in the buffer, unless the padding is read elsewhere too.
// CHECK-LABEL: func.func @padded_insertion(
// CHECK: flow.dispatch.region -> (tensor<4x4xf32>, tensor<6x12xf32>)
// CHECK: %[[P:.*]] = tensor.pad
// CHECK: %[[I:.*]] = tensor.insert_slice %[[P]]
// CHECK: flow.return %{{.*}}, %[[I]]
// CHECK: %[[Q:.*]] = flow.dispatch.region -> (tensor<6x6xf32>)
// CHECK: tensor.insert_slice %[[Q]]
func.func @padded_insertion(%x: tensor<4x4xf32>) -> (tensor<6x12xf32>, tensor<4x4xf32>, tensor<6x12xf32>, tensor<6x6xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %b = tensor.empty() : tensor<6x12xf32>
  %y = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%p: f32, %o: f32):
    %s = arith.negf %p : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %p = tensor.pad %y low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  %1 = tensor.insert_slice %p into %b[0, 6] [6, 6] [1, 1] : tensor<6x6xf32> into tensor<6x12xf32>
  %z = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x4xf32>) outs(%e : tensor<4x4xf32>) {
  ^bb0(%c: f32, %o: f32):
    %s = arith.addf %c, %c : f32
    linalg.yield %s : f32
  } -> tensor<4x4xf32>
  %q = tensor.pad %z low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<4x4xf32> to tensor<6x6xf32>
  %2 = tensor.insert_slice %q into %b[0, 0] [6, 6] [1, 1] : tensor<6x6xf32> into tensor<6x12xf32>
  return %1, %y, %2, %q : tensor<6x12xf32>, tensor<4x4xf32>, tensor<6x12xf32>, tensor<6x6xf32>
}
