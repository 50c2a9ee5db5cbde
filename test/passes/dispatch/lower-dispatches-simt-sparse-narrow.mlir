// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/elements = \["f16", "f32"\]/elements = ["f32"]/' %s > %t.elements.mlir
// RUN: not %dlas_opt %t.elements.mlir --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=ELEMENTS

// ELEMENTS: error: `dlas.schedule`: gpu does not compute with f16

#data = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d4, d2 + d5, d3 + d6)>
#weights = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d1, d4, d5, d6)>
#out = affine_map<(d0, d1, d2, d3, d4, d5, d6) -> (d0, d1, d2, d3)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", elements = ["f16", "f32"]}} {

// The non-zeros are kept in 16 bits, and both factors extended before they are multiplied.
// CHECK-LABEL: func.func @halves
// CHECK-DAG: arith.constant {{.*}} : tensor<4xf16>
// CHECK: flow.dispatch.workgroups
// CHECK: scf.for
// CHECK-DAG: %[[PIXEL:.*]] = vector.transfer_read {{.*}} tensor<24xf16>, vector<1xf16>
// CHECK-DAG: arith.extf %[[PIXEL]] : vector<1xf16> to vector<1xf32>
// CHECK-DAG: %[[VALUE:.*]] = tensor.extract {{.*}} : tensor<4xf16>
// CHECK-DAG: arith.extf %[[VALUE]] : f16 to f32
// CHECK: vector.fma {{.*}} : vector<1xf32>
func.func @halves(%x: tensor<1x2x3x4xf16>) -> tensor<1x2x2x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, 0.0]]], [[[0.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]> : tensor<2x2x2x2xf16>
  %y = flow.dispatch.region -> (tensor<1x2x2x3xf32>) {
    %e = tensor.empty() : tensor<1x2x2x3xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x2x3xf32>) -> tensor<1x2x2x3xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : tensor<1x2x3x4xf16>, tensor<2x2x2x2xf16>) outs(%start : tensor<1x2x2x3xf32>)
      attrs = {dlas.loops = ["n", "k", "oh", "ow", "c", "r", "s"], dlas.sparse = {block = 1 : i64, nonzeros = 4 : i64}, dlas.schedule = {kind = "simt", lanes = 1 : i64, order = ["k", "oh", "ow", "c", "r", "s"], threads = 32 : i64, tile = {}, vector = "ow"}} {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pe = arith.extf %p : f16 to f32
      %qe = arith.extf %q : f16 to f32
      %m = arith.mulf %pe, %qe : f32
      %a = arith.addf %o, %m : f32
      linalg.yield %a : f32
    } -> tensor<1x2x2x3xf32>
    flow.return %1 : tensor<1x2x2x3xf32>
  }
  return %y : tensor<1x2x2x3xf32>
}

// The weights of a layer may have stayed in float32.
// CHECK-LABEL: func.func @mixed
// CHECK-DAG: arith.constant {{.*}} : tensor<4xf32>
// CHECK: flow.dispatch.workgroups
// CHECK: scf.for
// CHECK: arith.extf {{.*}} : vector<1xf16> to vector<1xf32>
// CHECK-NOT: arith.extf
// CHECK: vector.fma {{.*}} : vector<1xf32>
func.func @mixed(%x: tensor<1x2x3x4xf16>) -> tensor<1x2x2x3xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[[1.0, 0.0], [0.0, 2.0]], [[4.0, 0.0], [0.0, 0.0]]], [[[0.0, 3.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]]]> : tensor<2x2x2x2xf32>
  %y = flow.dispatch.region -> (tensor<1x2x2x3xf32>) {
    %e = tensor.empty() : tensor<1x2x2x3xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x2x3xf32>) -> tensor<1x2x2x3xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : tensor<1x2x3x4xf16>, tensor<2x2x2x2xf32>) outs(%start : tensor<1x2x2x3xf32>)
      attrs = {dlas.loops = ["n", "k", "oh", "ow", "c", "r", "s"], dlas.sparse = {block = 1 : i64, nonzeros = 4 : i64}, dlas.schedule = {kind = "simt", lanes = 1 : i64, order = ["k", "oh", "ow", "c", "r", "s"], threads = 32 : i64, tile = {}, vector = "ow"}} {
    ^bb0(%p: f16, %q: f32, %o: f32):
      %pe = arith.extf %p : f16 to f32
      %m = arith.mulf %pe, %q : f32
      %a = arith.addf %o, %m : f32
      linalg.yield %a : f32
    } -> tensor<1x2x2x3xf32>
    flow.return %1 : tensor<1x2x2x3xf32>
  }
  return %y : tensor<1x2x2x3xf32>
}
}
