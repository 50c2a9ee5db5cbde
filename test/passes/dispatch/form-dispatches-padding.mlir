// RUN: %dlas_opt %s --dlas-form-dispatches=padding=read | FileCheck %s
// RUN: %dlas_opt %s --dlas-form-dispatches | FileCheck %s --check-prefix=WRITE
// RUN: not %dlas_opt %s --dlas-form-dispatches=padding=both 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `padding`: expected write or read, found `both`

#id = affine_map<(d0) -> (d0)>
#window = affine_map<(d0, d1) -> (d0 + d1)>
#taps = affine_map<(d0, d1) -> (d1)>
#out = affine_map<(d0, d1) -> (d0)>

// Padding stands with what reads it, once for each; the argument is read as it is.
// CHECK-LABEL: func.func @window
// CHECK-NOT: tensor.pad
// CHECK: %[[Y:.*]] = flow.dispatch.region
// CHECK: tensor.pad %arg0 low[1] high[1]
// CHECK: linalg.generic
// CHECK: flow.return
// CHECK: flow.dispatch.region
// CHECK: tensor.pad %[[Y]] low[1] high[1]
// CHECK: linalg.generic
// CHECK: flow.return

// As it is otherwise: the padding of an argument is a copy, that of a result its own region's.
// WRITE-LABEL: func.func @window
// WRITE: flow.dispatch.region
// WRITE: linalg.generic
// WRITE: tensor.pad
// WRITE: flow.dispatch.region
// WRITE: linalg.generic
// WRITE: tensor.pad
func.func @window(%x: tensor<16xf32>, %w: tensor<3xf32>) -> tensor<16xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<16xf32>
  %start = linalg.fill ins(%zero : f32) outs(%e : tensor<16xf32>) -> tensor<16xf32>
  %p = tensor.pad %x low[1] high[1] {
  ^bb0(%i: index):
    tensor.yield %zero : f32
  } : tensor<16xf32> to tensor<18xf32>
  %1 = linalg.generic {indexing_maps = [#window, #taps, #out], iterator_types = ["parallel", "reduction"]} ins(%p, %w : tensor<18xf32>, tensor<3xf32>) outs(%start : tensor<16xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<16xf32>
  %q = tensor.pad %1 low[1] high[1] {
  ^bb0(%i: index):
    tensor.yield %zero : f32
  } : tensor<16xf32> to tensor<18xf32>
  %2 = linalg.generic {indexing_maps = [#window, #taps, #out], iterator_types = ["parallel", "reduction"]} ins(%q, %w : tensor<18xf32>, tensor<3xf32>) outs(%start : tensor<16xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<16xf32>
  return %2 : tensor<16xf32>
}

// A sparse contraction reads padding that is written: by a copy, or by the sparse contraction before it.
// CHECK-LABEL: func.func @sparse
// CHECK: %[[COPY:.*]] = flow.dispatch.region
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel", "parallel"]
// CHECK: tensor.pad
// CHECK: flow.return
// CHECK: %[[FIRST:.*]] = flow.dispatch.region -> (tensor<1x2x6xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[COPY]]
// CHECK: tensor.pad
// CHECK: flow.return
// CHECK: flow.dispatch.region -> (tensor<1x2x4xf32>)
// CHECK-NOT: tensor.pad
// CHECK: linalg.generic {{.*}} ins(%[[FIRST]]
#sparse_data = affine_map<(n, k, w, c, s) -> (n, c, w + s)>
#sparse_weights = affine_map<(n, k, w, c, s) -> (k, c, s)>
#sparse_out = affine_map<(n, k, w, c, s) -> (n, k, w)>
func.func @sparse(%x: tensor<1x2x4xf32>) -> tensor<1x2x4xf32> {
  %zero = arith.constant 0.0 : f32
  %w = arith.constant dense<[[[1.0, 0.0, 0.0], [0.0, 0.0, 2.0]], [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]]]> : tensor<2x2x3xf32>
  %e = tensor.empty() : tensor<1x2x4xf32>
  %start = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x4xf32>) -> tensor<1x2x4xf32>
  %p = tensor.pad %x low[0, 0, 1] high[0, 0, 1] {
  ^bb0(%i: index, %j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<1x2x4xf32> to tensor<1x2x6xf32>
  %1 = linalg.generic {dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64}, indexing_maps = [#sparse_data, #sparse_weights, #sparse_out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%p, %w : tensor<1x2x6xf32>, tensor<2x2x3xf32>) outs(%start : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x2x4xf32>
  %q = tensor.pad %1 low[0, 0, 1] high[0, 0, 1] {
  ^bb0(%i: index, %j: index, %k: index):
    tensor.yield %zero : f32
  } : tensor<1x2x4xf32> to tensor<1x2x6xf32>
  %2 = linalg.generic {dlas.sparse = {block = 1 : i64, nonzeros = 3 : i64}, indexing_maps = [#sparse_data, #sparse_weights, #sparse_out], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%q, %w : tensor<1x2x6xf32>, tensor<2x2x3xf32>) outs(%start : tensor<1x2x4xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %s = arith.addf %o, %m : f32
    linalg.yield %s : f32
  } -> tensor<1x2x4xf32>
  return %2 : tensor<1x2x4xf32>
}
