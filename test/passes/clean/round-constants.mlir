// RUN: %dlas_opt %s --dlas-round-constants | FileCheck %s
// RUN: %dlas_opt %s --dlas-round-constants --iree-input-conversion-demote-f64-to-f32 2>/dev/null | FileCheck %s --check-prefix=DEMOTED
// RUN: not %dlas_opt %s --dlas-round-constants=digits=7 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`digits`

// Also in bodies, and in tensors; what float32 cannot hold and other types stay.
// CHECK-LABEL: func.func @constants
// CHECK: arith.constant 1.1000000238418579 : f64
// CHECK: arith.constant 1.100000e+00 : f32
// CHECK: arith.constant dense<0.10000000149011612> : tensor<2xf64>
// CHECK: arith.constant dense<[0.10000000149011612, 5.000000e-01]> : tensor<2xf64>
// CHECK: arith.constant 1.000000e+300 : f64
// CHECK: arith.constant 0x7FF0000000000000 : f64
// CHECK: arith.constant 0.69999998807907104 : f64
// DEMOTED: arith.constant 1.100000e+00 : f32
func.func @constants(%x: tensor<2xf64>) -> (f64, f32, tensor<2xf64>, tensor<2xf64>, f64, f64, tensor<2xf64>) {
  %a = arith.constant 1.1 : f64
  %b = arith.constant 1.1 : f32
  %c = arith.constant dense<0.1> : tensor<2xf64>
  %d = arith.constant dense<[0.1, 0.5]> : tensor<2xf64>
  %e = arith.constant 1.0e300 : f64
  %f = arith.constant 0x7FF0000000000000 : f64
  %t = tensor.empty() : tensor<2xf64>
  %y = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> (i)>], iterator_types = ["parallel"]} ins(%x : tensor<2xf64>) outs(%t : tensor<2xf64>) {
  ^bb0(%in: f64, %out: f64):
    %s = arith.constant 0.7 : f64
    %p = arith.mulf %in, %s : f64
    linalg.yield %p : f64
  } -> tensor<2xf64>
  return %a, %b, %c, %d, %e, %f, %y : f64, f32, tensor<2xf64>, tensor<2xf64>, f64, f64, tensor<2xf64>
}
