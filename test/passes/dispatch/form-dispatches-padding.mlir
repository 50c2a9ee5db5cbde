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
