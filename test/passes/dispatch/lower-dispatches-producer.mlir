// RUN: %dlas_opt %s --split-input-file --verify-diagnostics --dlas-lower-dispatches --canonicalize --cse | FileCheck %s

#window = affine_map<(h, w, c, r) -> (h + r, w, c)>
#taps = affine_map<(h, w, c, r) -> (r, c)>
#made = affine_map<(h, w, c, r) -> (h, w, c)>
#data = affine_map<(h, w, kb, k, c) -> (h, w, c)>
#weights = affine_map<(h, w, kb, k, c) -> (kb, c, k)>
#out = affine_map<(h, w, kb, k, c) -> (kb, h, w, k)>

// Two rows of the sum are computed, for all channels, into memory of the kernel; the products of all blocks of these
// rows read them there.
// CHECK-LABEL: func.func @within
// CHECK: flow.dispatch.workgroups(%arg2, %arg0, %arg1)
// CHECK: scf.for %[[H:.*]] = %c0 to %c6 step %c2
// CHECK: %[[PART:.*]] = tensor.empty() {dlas.part} : tensor<2x4x8xf32>
// CHECK: %[[ROWS:.*]] = scf.for %[[ROW:.*]] = %c0 to %c2 step %c1 iter_args(%{{.*}} = %[[PART]])
// CHECK: scf.for
// CHECK: vector.fma
// CHECK: vector.transfer_write {{.*}} tensor<2x4x8xf32>
// CHECK: scf.for %{{.*}} = %c0 to %c3 step %c1
// CHECK: scf.for %{{.*}} = %c0 to %c8 step %c1
// CHECK: tensor.extract %[[ROWS]][%c0, %c0, %{{.*}}] : tensor<2x4x8xf32>
// CHECK: vector.fma
func.func @within(%x: tensor<7x4x8xf32>, %t: tensor<2x8xf32>, %w: tensor<3x8x8xf32>) -> tensor<3x6x4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<3x6x4x8xf32>) {
    %e = tensor.empty() : tensor<6x4x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<6x4x8xf32>) -> tensor<6x4x8xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #made], iterator_types = ["parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "c", "r"]}
      ins(%x, %t : tensor<7x4x8xf32>, tensor<2x8xf32>) outs(%f : tensor<6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x4x8xf32>
    %g = tensor.empty() : tensor<3x6x4x8xf32>
    %start = linalg.fill ins(%zero : f32) outs(%g : tensor<3x6x4x8xf32>) -> tensor<3x6x4x8xf32>
    %2 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "kb", "k", "c"],
        dlas.schedule = {kind = "cpu", tile = {h = 2, w = 4, k = 8}, order = ["h", "kb", "w", "k", "c"], vector = "k", lanes = 8,
          producer = {kind = "cpu", tile = {w = 4, c = 8}, order = ["h", "w", "c", "r"], vector = "c", lanes = 8}}}
      ins(%1, %w : tensor<6x4x8xf32>, tensor<3x8x8xf32>) outs(%start : tensor<3x6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<3x6x4x8xf32>
    flow.return %2 : tensor<3x6x4x8xf32>
  }
  return %y : tensor<3x6x4x8xf32>
}

// -----

#window = affine_map<(h, w, c, r) -> (h + r, w, c)>
#taps = affine_map<(h, w, c, r) -> (r, c)>
#made = affine_map<(h, w, c, r) -> (h, w, c)>
#data = affine_map<(h, w, kb, k, c) -> (h, w, c)>
#weights = affine_map<(h, w, kb, k, c) -> (kb, c, k)>
#out = affine_map<(h, w, kb, k, c) -> (kb, h, w, k)>

// Apart, it is a kernel before the other.
// CHECK-LABEL: func.func @apart
// CHECK: %[[MADE:.*]] = flow.dispatch.workgroups(%arg0, %arg1)
// CHECK-SAME: -> tensor<6x4x8xf32>
// CHECK: flow.dispatch.workgroups(%[[MADE]], %arg2)
func.func @apart(%x: tensor<7x4x8xf32>, %t: tensor<2x8xf32>, %w: tensor<3x8x8xf32>) -> tensor<3x6x4x8xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<3x6x4x8xf32>) {
    %e = tensor.empty() : tensor<6x4x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<6x4x8xf32>) -> tensor<6x4x8xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #made], iterator_types = ["parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "c", "r"]}
      ins(%x, %t : tensor<7x4x8xf32>, tensor<2x8xf32>) outs(%f : tensor<6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x4x8xf32>
    %g = tensor.empty() : tensor<3x6x4x8xf32>
    %start = linalg.fill ins(%zero : f32) outs(%g : tensor<3x6x4x8xf32>) -> tensor<3x6x4x8xf32>
    %2 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "kb", "k", "c"],
        dlas.schedule = {kind = "cpu", tile = {h = 2, w = 4, k = 8}, order = ["kb", "h", "w", "k", "c"], vector = "k", lanes = 8, apart = true,
          producer = {kind = "cpu", tile = {w = 4, c = 8}, order = ["h", "w", "c", "r"], vector = "c", lanes = 8}}}
      ins(%1, %w : tensor<6x4x8xf32>, tensor<3x8x8xf32>) outs(%start : tensor<3x6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<3x6x4x8xf32>
    flow.return %2 : tensor<3x6x4x8xf32>
  }
  return %y : tensor<3x6x4x8xf32>
}

// -----

#window = affine_map<(h, w, c, r) -> (h + r, w, c)>
#taps = affine_map<(h, w, c, r) -> (r, c)>
#image = affine_map<(h, w, c, r) -> (h, w, c)>
#data = affine_map<(h, w, k, c) -> (h, w, c)>
#weights = affine_map<(h, w, k, c) -> (c, k)>

// The producer reads what the kernel updates: its first rows would be those of the result.
// CHECK-LABEL: func.func @updates
// CHECK-NOT: flow.dispatch.workgroups
func.func @updates(%x: tensor<7x4x8xf32>, %t: tensor<2x8xf32>, %w: tensor<8x8xf32>) -> tensor<7x4x8xf32> {
  %zero = arith.constant 0.0 : f32
  // expected-remark @below {{a buffer that is updated cannot be read or updated again by a kernel}}
  %y = flow.dispatch.region -> (tensor<7x4x8xf32>) {
    %e = tensor.empty() : tensor<6x4x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<6x4x8xf32>) -> tensor<6x4x8xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "c", "r"]}
      ins(%x, %t : tensor<7x4x8xf32>, tensor<2x8xf32>) outs(%f : tensor<6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x4x8xf32>
    %2 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "k", "c"],
        dlas.schedule = {kind = "cpu", tile = {h = 2, w = 4, k = 8}, order = ["h", "w", "k", "c"], vector = "k", lanes = 8,
          producer = {kind = "cpu", tile = {w = 4, c = 8}, order = ["h", "w", "c", "r"], vector = "c", lanes = 8}}}
      ins(%1, %w : tensor<6x4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x4x8xf32>
    %3 = tensor.insert_slice %2 into %x[0, 0, 0] [6, 4, 8] [1, 1, 1] : tensor<6x4x8xf32> into tensor<7x4x8xf32>
    flow.return %3 : tensor<7x4x8xf32>
  }
  return %y : tensor<7x4x8xf32>
}

// The producer reads beyond what there is.
// CHECK-LABEL: func.func @outside
// CHECK-NOT: flow.dispatch.workgroups
func.func @outside(%x: tensor<6x4x8xf32>, %t: tensor<2x8xf32>, %w: tensor<8x8xf32>) -> tensor<6x4x8xf32> {
  %zero = arith.constant 0.0 : f32
  // expected-remark @below {{a kernel of this kind reads nothing beyond the ends of a tensor}}
  %y = flow.dispatch.region -> (tensor<6x4x8xf32>) {
    %e = tensor.empty() : tensor<6x4x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<6x4x8xf32>) -> tensor<6x4x8xf32>
    %padded = tensor.pad %x low[1, 0, 0] high[0, 0, 0] {
    ^bb0(%i: index, %j: index, %l: index):
      tensor.yield %zero : f32
    } : tensor<6x4x8xf32> to tensor<7x4x8xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "c", "r"]}
      ins(%padded, %t : tensor<7x4x8xf32>, tensor<2x8xf32>) outs(%f : tensor<6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x4x8xf32>
    %2 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"], dlas.loops = ["h", "w", "k", "c"],
        dlas.schedule = {kind = "cpu", tile = {h = 2, w = 4, k = 8}, order = ["h", "w", "k", "c"], vector = "k", lanes = 8,
          producer = {kind = "cpu", tile = {w = 4, c = 8}, order = ["h", "w", "c", "r"], vector = "c", lanes = 8}}}
      ins(%1, %w : tensor<6x4x8xf32>, tensor<8x8xf32>) outs(%f : tensor<6x4x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x4x8xf32>
    flow.return %2 : tensor<6x4x8xf32>
  }
  return %y : tensor<6x4x8xf32>
}
