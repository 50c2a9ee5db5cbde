// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse | FileCheck %s
// RUN: not %dlas_opt %s --dlas-lower-dispatches=tile=1 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-lower-dispatches` has no option `tile`; it has none

// CHECK: module attributes {dlas.layers = [{layer = "fc", macs = 144 : i64, options = {panel = 8 : i64}, primitive = "gemm", schedule = {distribute = {d0 = 3 : i64}, kind = "cpu", lanes = 4 : i64, order = ["d0", "d1", "d2"], tile = {d1 = 4 : i64}, vector = "d1"}, shape = {batch = 6 : i64, in_channels = 3 : i64, linear = true, out_channels = 8 : i64}, workload = "{{[0-9a-f]+}}"}]}

#id = affine_map<(d0, d1) -> (d0, d1)>
#a = affine_map<(d0, d1, d2) -> (d0, d2)>
#b = affine_map<(d0, d1, d2) -> (d2, d1)>
#c = affine_map<(d0, d1, d2) -> (d0, d1)>

// Six rows for two workgroups; four lanes of the result are accumulated in a register, and bias and activation are
// applied to it before it is written.
// CHECK-LABEL: func.func @product
// CHECK: flow.dispatch.workgroups({{.*}} attributes {dlas.layer = "fc", dlas.primitive = "gemm", dlas.workload = "{{[0-9a-f]*}}"}
// CHECK: %[[ID:.*]] = flow.dispatch.workgroup.id[0]
// CHECK: scf.for %[[I:.*]] = %c0 to %c3 step %c1
// CHECK: affine.apply #{{.*}}(%[[I]])[%[[ID]]]
// CHECK: scf.for %[[J:.*]] = %c0 to %c8 step %c4
// CHECK: %[[ACC:.*]] = scf.for {{.*}} -> (vector<4xf32>)
// CHECK: tensor.extract
// CHECK: vector.broadcast
// CHECK: vector.transfer_read
// CHECK: vector.fma
// CHECK: arith.addf %[[ACC]]
// CHECK: arith.maximumf
// CHECK: vector.transfer_write {{.*}}[%[[I]], %[[J]]]
// CHECK: iree_tensor_ext.dispatch.tensor.store {{.*}} sizes = [3, 8]
// CHECK: count()
// CHECK: flow.return %c2, %c1, %c1
func.func @product(%x: tensor<6x3xf32>, %w: tensor<3x8xf32>, %bias: tensor<8xf32>) -> tensor<6x8xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<6x8xf32>) {
    %e = tensor.empty() : tensor<6x8xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<6x8xf32>) -> tensor<6x8xf32>
    %1 = linalg.generic {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<6x3xf32>, tensor<3x8xf32>) outs(%start : tensor<6x8xf32>)
      attrs = {dlas.layer = "fc", dlas.options = {panel = 8}, dlas.primitive = "gemm", dlas.shape = {batch = 6, in_channels = 3, linear = true, out_channels = 8},
               dlas.schedule = {kind = "cpu", distribute = {d0 = 3}, tile = {d1 = 4}, order = ["d0", "d1", "d2"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<6x8xf32>
    %2 = linalg.generic {indexing_maps = [#id, affine_map<(d0, d1) -> (d1)>, #id], iterator_types = ["parallel", "parallel"]} ins(%1, %bias : tensor<6x8xf32>, tensor<8xf32>) outs(%e : tensor<6x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      %t = arith.maximumf %s, %zero : f32
      linalg.yield %t : f32
    } -> tensor<6x8xf32>
    flow.return %2 : tensor<6x8xf32>
  }
  return %y : tensor<6x8xf32>
}

// Tiles that do not divide: the last workgroup's four of ten rows, and the last vector of seven columns, overlap those
// before them.
// CHECK-LABEL: func.func @overlap
// CHECK: %[[ID:.*]] = flow.dispatch.workgroup.id[0]
// CHECK: %[[ROW:.*]] = affine.min #[[MAP:.*]]()[%[[ID]]]
// CHECK: scf.for %[[J:.*]] = %c0 to %c7 step %c4
// CHECK: affine.min #{{.*}}(%[[J]])
// CHECK: offsets = [%[[ROW]], 0], sizes = [4, 7]
// CHECK: flow.return %c3, %c1, %c1
func.func @overlap(%x: tensor<10x7xf32>) -> tensor<10x7xf32> {
  %y = flow.dispatch.region -> (tensor<10x7xf32>) {
    %e = tensor.empty() : tensor<10x7xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<10x7xf32>) outs(%e : tensor<10x7xf32>)
      attrs = {dlas.schedule = {kind = "cpu", distribute = {d0 = 4}, tile = {d1 = 4}, order = ["d0", "d1"], vector = "d1", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<10x7xf32>
    flow.return %1 : tensor<10x7xf32>
  }
  return %y : tensor<10x7xf32>
}

// A workgroup that writes everything writes the padding (-inf) as it goes; the bare value is a second result.
// CHECK-LABEL: func.func @borders
// CHECK: flow.dispatch.workgroups(%arg0) : (tensor<2x8xf32>) -> (tensor<4x10xf32>, tensor<2x8xf32>)
// CHECK: arith.constant dense<0xFF800000>
// CHECK: tensor.empty() {dlas.result = 0 : i64} : tensor<4x10xf32>
// CHECK: tensor.empty() {dlas.result = 1 : i64} : tensor<2x8xf32>
// CHECK: vector.transfer_write %{{.*}}, %{{.*}}[%c0, %{{.*}}] {{.*}} vector<8xf32>, tensor<4x10xf32>
// CHECK: vector.transfer_write %{{.*}}, %{{.*}}[%c3, %{{.*}}] {{.*}} vector<8xf32>, tensor<4x10xf32>
// CHECK: vector.transfer_write %{{.*}}, %{{.*}}[%{{.*}}, %c0] {{.*}} vector<1xf32>, tensor<4x10xf32>
// CHECK: vector.transfer_write %{{.*}}, %{{.*}}[%{{.*}}, %c9] {{.*}} vector<1xf32>, tensor<4x10xf32>
// CHECK: %[[VALUE:.*]] = arith.negf
// CHECK: vector.transfer_write %[[VALUE]], %{{.*}} {{.*}} tensor<4x10xf32>
// CHECK: vector.transfer_write %[[VALUE]], %{{.*}} {{.*}} tensor<2x8xf32>
// CHECK-NOT: scf.if
func.func @borders(%x: tensor<2x8xf32>) -> (tensor<4x10xf32>, tensor<2x8xf32>) {
  %lowest = arith.constant 0xFF800000 : f32
  %y:2 = flow.dispatch.region -> (tensor<4x10xf32>, tensor<2x8xf32>) {
    %e = tensor.empty() : tensor<2x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<2x8xf32>) outs(%e : tensor<2x8xf32>)
      attrs = {dlas.schedule = {kind = "cpu", tile = {d1 = 8}, order = ["d0", "d1"], vector = "d1", lanes = 8}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<2x8xf32>
    %2 = tensor.pad %1 low[1, 1] high[1, 1] {
    ^bb0(%i: index, %j: index):
      tensor.yield %lowest : f32
    } : tensor<2x8xf32> to tensor<4x10xf32>
    flow.return %2, %1 : tensor<4x10xf32>, tensor<2x8xf32>
  }
  return %y#0, %y#1 : tensor<4x10xf32>, tensor<2x8xf32>
}

// Two padded dimensions that are split among workgroups: those at an edge write its strip, those at two the corner.
// CHECK-LABEL: func.func @corners
// CHECK: dispatch.tensor.store {{.*}} sizes = [2, 4, 4]
// CHECK: %[[LEFT:.*]] = arith.cmpi eq, %{{.*}}, %c0
// CHECK: scf.if %[[LEFT]]
// CHECK: offsets = [%{{.*}}, 0, 0], sizes = [2, 1, 4]
// CHECK: %[[TOP:.*]] = arith.cmpi eq, %{{.*}}, %c0
// CHECK: scf.if %[[TOP]]
// CHECK: offsets = [0, %{{.*}}, 0], sizes = [1, 4, 4]
// CHECK: %[[BOTH:.*]] = arith.andi %[[TOP]], %[[LEFT]]
// CHECK: scf.if %[[BOTH]]
// CHECK: offsets = [0, 0, 0], sizes = [1, 1, 4]
// CHECK: %[[BOTTOM:.*]] = arith.cmpi eq, %{{.*}}, %c1
// CHECK: scf.if %[[BOTTOM]]
// CHECK: offsets = [5, %{{.*}}, 0], sizes = [1, 4, 4]
// CHECK: arith.andi %[[BOTTOM]], %[[LEFT]]
// CHECK: offsets = [5, 0, 0], sizes = [1, 1, 4]
func.func @corners(%x: tensor<4x8x4xf32>) -> tensor<6x9x4xf32> {
  %zero = arith.constant 0.0 : f32
  %y = flow.dispatch.region -> (tensor<6x9x4xf32>) {
    %e = tensor.empty() : tensor<4x8x4xf32>
    %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%x : tensor<4x8x4xf32>) outs(%e : tensor<4x8x4xf32>)
      attrs = {dlas.schedule = {kind = "cpu", distribute = {d0 = 2, d1 = 4}, tile = {d2 = 4}, order = ["d0", "d1", "d2"], vector = "d2", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8x4xf32>
    %2 = tensor.pad %1 low[1, 1, 0] high[1, 0, 0] {
    ^bb0(%i: index, %j: index, %k: index):
      tensor.yield %zero : f32
    } : tensor<4x8x4xf32> to tensor<6x9x4xf32>
    flow.return %2 : tensor<6x9x4xf32>
  }
  return %y : tensor<6x9x4xf32>
}
