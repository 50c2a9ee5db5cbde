// RUN: %dlas_opt %s --split-input-file --dlas-widen-arithmetic --canonicalize --mlir-print-op-generic=false | FileCheck %s
// RUN: not %dlas_opt %s --dlas-widen-arithmetic=element=f16 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}element

#x = affine_map<(n, c, h, w) -> (n, c, h, w)>
#s = affine_map<(n, c, h, w) -> (n, c)>
#i = affine_map<(n, c) -> (n, c)>

// The mean of 57 x 57 numbers: summed and divided in float32, by 3249, of which bfloat16 makes 3248.
// CHECK-LABEL: func.func @mean
// CHECK-DAG: %[[COUNT:.*]] = arith.constant 3.249000e+03 : f32
// CHECK-DAG: %[[ZERO:.*]] = arith.constant 0.000000e+00 : f32
// CHECK: linalg.fill ins(%[[ZERO]] : f32) {{.*}} -> tensor<1x8xf32>
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<1x8x57x57xbf16>) outs({{.*}} : tensor<1x8xf32>)
// CHECK: %[[WIDE:.*]] = arith.extf %{{.*}} : bf16 to f32
// CHECK: arith.addf %[[WIDE]], %{{.*}} : f32
// CHECK: linalg.generic {{.*}} ins({{.*}} : tensor<1x8xf32>) outs({{.*}} : tensor<1x8xbf16>)
// CHECK: %[[MEAN:.*]] = arith.divf %{{.*}}, %[[COUNT]] : f32
// CHECK: %[[ROUNDED:.*]] = arith.truncf %[[MEAN]] : f32 to bf16
// CHECK: linalg.yield %[[ROUNDED]] : bf16
func.func @mean(%x: tensor<1x8x57x57xbf16>) -> tensor<1x8xbf16> {
  %zero = arith.constant 0.0 : bf16
  %count = arith.constant 3.248e+03 : bf16
  %e = tensor.empty() : tensor<1x8xbf16>
  %f = linalg.fill ins(%zero : bf16) outs(%e : tensor<1x8xbf16>) -> tensor<1x8xbf16>
  %s = linalg.generic {indexing_maps = [#x, #s], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%x : tensor<1x8x57x57xbf16>) outs(%f : tensor<1x8xbf16>) {
  ^bb0(%in: bf16, %out: bf16):
    %a = arith.addf %in, %out : bf16
    linalg.yield %a : bf16
  } -> tensor<1x8xbf16>
  %m = linalg.generic {indexing_maps = [#i, #i], iterator_types = ["parallel", "parallel"]} ins(%s : tensor<1x8xbf16>) outs(%e : tensor<1x8xbf16>) {
  ^bb0(%in: bf16, %out: bf16):
    %d = arith.divf %in, %count : bf16
    linalg.yield %d : bf16
  } -> tensor<1x8xbf16>
  return %m : tensor<1x8xbf16>
}

// -----

// A sum that is returned, and squared, is rounded first. The start is no constant.
// CHECK-LABEL: func.func @sum
// CHECK: %[[START:.*]] = linalg.generic {{.*}} ins(%arg1 : tensor<8xf16>) outs({{.*}} : tensor<8xf32>)
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}} ins(%arg0 : tensor<8x99xf16>) outs(%[[START]] : tensor<8xf32>)
// CHECK: %[[ROUNDED:.*]] = linalg.generic {{.*}} ins(%[[SUM]] : tensor<8xf32>) outs({{.*}} : tensor<8xf16>)
// CHECK: %[[SQUARE:.*]] = linalg.generic {{.*}} ins(%[[ROUNDED]] : tensor<8xf16>) outs({{.*}} : tensor<8xf16>)
// CHECK: arith.mulf %{{.*}}, %{{.*}} : f32
// CHECK: arith.truncf
// CHECK: return %[[ROUNDED]], %[[SQUARE]]
func.func @sum(%x: tensor<8x99xf16>, %start: tensor<8xf16>) -> (tensor<8xf16>, tensor<8xf16>) {
  %e = tensor.empty() : tensor<8xf16>
  %s = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<8x99xf16>) outs(%start : tensor<8xf16>) {
  ^bb0(%in: f16, %out: f16):
    %a = arith.addf %in, %out : f16
    linalg.yield %a : f16
  } -> tensor<8xf16>
  %q = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%s : tensor<8xf16>) outs(%e : tensor<8xf16>) {
  ^bb0(%in: f16, %out: f16):
    %d = arith.mulf %in, %in : f16
    linalg.yield %d : f16
  } -> tensor<8xf16>
  return %s, %q : tensor<8xf16>, tensor<8xf16>
}

// -----

// Named operations stay so.
// CHECK-LABEL: func.func @named
// CHECK: linalg.pooling_nchw_max ins(%arg0, %{{.*}} : tensor<1x4x8x8xf16>, tensor<2x2xf16>) outs({{.*}} : tensor<1x4x7x7xf32>)
// CHECK: linalg.conv_2d_nchw_fchw ins({{.*}} : tensor<1x4x7x7xf16>, tensor<4x4x3x3xf16>) outs({{.*}} : tensor<1x4x5x5xf32>)
// CHECK: linalg.matmul ins(%arg2, %arg2 : tensor<4x4xf16>, tensor<4x4xf16>) outs({{.*}} : tensor<4x4xf32>)
func.func @named(%x: tensor<1x4x8x8xf16>, %w: tensor<4x4x3x3xf16>, %m: tensor<4x4xf16>) -> (tensor<1x4x5x5xf16>, tensor<4x4xf16>) {
  %low = arith.constant 0xFC00 : f16
  %zero = arith.constant 0.0 : f16
  %window = tensor.empty() : tensor<2x2xf16>
  %e = tensor.empty() : tensor<1x4x7x7xf16>
  %f = linalg.fill ins(%low : f16) outs(%e : tensor<1x4x7x7xf16>) -> tensor<1x4x7x7xf16>
  %p = linalg.pooling_nchw_max ins(%x, %window : tensor<1x4x8x8xf16>, tensor<2x2xf16>) outs(%f : tensor<1x4x7x7xf16>) -> tensor<1x4x7x7xf16>
  %ec = tensor.empty() : tensor<1x4x5x5xf16>
  %fc = linalg.fill ins(%zero : f16) outs(%ec : tensor<1x4x5x5xf16>) -> tensor<1x4x5x5xf16>
  %c = linalg.conv_2d_nchw_fchw ins(%p, %w : tensor<1x4x7x7xf16>, tensor<4x4x3x3xf16>) outs(%fc : tensor<1x4x5x5xf16>) -> tensor<1x4x5x5xf16>
  %em = tensor.empty() : tensor<4x4xf16>
  %fm = linalg.fill ins(%zero : f16) outs(%em : tensor<4x4xf16>) -> tensor<4x4xf16>
  %mm = linalg.matmul ins(%m, %m : tensor<4x4xf16>, tensor<4x4xf16>) outs(%fm : tensor<4x4xf16>) -> tensor<4x4xf16>
  return %c, %mm : tensor<1x4x5x5xf16>, tensor<4x4xf16>
}

// -----

// An operation of several steps is rounded once; one that computes nothing, or in float32, is left alone.
// CHECK-LABEL: func.func @elementwise
// CHECK: arith.extf
// CHECK-NEXT: arith.negf %{{.*}} : f32
// CHECK-NEXT: math.exp %{{.*}} : f32
// CHECK-NEXT: arith.addf %{{.*}} : f32
// CHECK-NEXT: arith.divf %{{.*}} : f32
// CHECK-NEXT: arith.truncf
// CHECK-NEXT: linalg.yield
// CHECK: arith.cmpf ugt, %{{.*}} : f16
// CHECK-NEXT: arith.select %{{.*}} : f16
// CHECK-NEXT: linalg.yield
// CHECK: %[[SCALED:.*]] = arith.mulf %{{.*}} : f32
// CHECK-NEXT: linalg.yield %[[SCALED]] : f32
func.func @elementwise(%x: tensor<8xf16>, %y: tensor<8xf32>) -> (tensor<8xf16>, tensor<8xf16>, tensor<8xf32>) {
  %one = arith.constant 1.0 : f16
  %zero = arith.constant 0.0 : f16
  %e = tensor.empty() : tensor<8xf16>
  %w = tensor.empty() : tensor<8xf32>
  %a = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%x : tensor<8xf16>) outs(%e : tensor<8xf16>) {
  ^bb0(%in: f16, %out: f16):
    %n = arith.negf %in : f16
    %p = math.exp %n : f16
    %q = arith.addf %p, %one : f16
    %d = arith.divf %one, %q : f16
    linalg.yield %d : f16
  } -> tensor<8xf16>
  %b = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%x : tensor<8xf16>) outs(%e : tensor<8xf16>) {
  ^bb0(%in: f16, %out: f16):
    %n = arith.cmpf ugt, %in, %zero : f16
    %p = arith.select %n, %in, %zero : f16
    linalg.yield %p : f16
  } -> tensor<8xf16>
  %c = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%y : tensor<8xf32>) outs(%w : tensor<8xf32>) {
  ^bb0(%in: f32, %out: f32):
    %p = arith.mulf %in, %in : f32
    linalg.yield %p : f32
  } -> tensor<8xf32>
  return %a, %b, %c : tensor<8xf16>, tensor<8xf16>, tensor<8xf32>
}
