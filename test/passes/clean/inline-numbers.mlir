// RUN: %dlas_opt %s --split-input-file --dlas-inline-numbers | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-inline-numbers=rank=1 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`rank`

#row = affine_map<(d0) -> (d0)>
#one = affine_map<(d0) -> ()>

// Bounds are numbers of the body; names and attributes of the layer stay.
// CHECK-LABEL: func.func @bounds
// CHECK-DAG: %[[LOW:.*]] = arith.constant 0.000000e+00 : f32
// CHECK-DAG: %[[HIGH:.*]] = arith.constant 6.000000e+00 : f32
// CHECK: linalg.generic {{.*}} ins(%arg0 : tensor<8xf32>) outs(%{{.*}} : tensor<8xf32>) attrs = {dlas.layer = "relu6"}
// CHECK-NEXT: ^bb0(%[[IN:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT: %[[ABOVE:.*]] = arith.maximumf %[[IN]], %[[LOW]] : f32
// CHECK-NEXT: arith.minimumf %[[ABOVE]], %[[HIGH]] : f32
func.func @bounds(%x: tensor<8xf32>) -> tensor<8xf32> {
  %low = arith.constant dense<0.0> : tensor<f32>
  %high = arith.constant dense<6.0> : tensor<f32>
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.generic {indexing_maps = [#one, #row, #one, #row], iterator_types = ["parallel"]}
      ins(%low, %x, %high : tensor<f32>, tensor<8xf32>, tensor<f32>) outs(%e : tensor<8xf32>) attrs = {dlas.layer = "relu6"} {
  ^bb0(%a: f32, %in: f32, %b: f32, %out: f32):
    %1 = arith.maximumf %in, %a : f32
    %2 = arith.minimumf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

#row = affine_map<(d0) -> (d0)>
#one = affine_map<(d0) -> ()>

// A number that the caller gives, and constants of other ranks, are read as they were.
// CHECK-LABEL: func.func @others
// CHECK: linalg.generic {{.*}} ins(%arg0, %arg1, %{{.*}} : tensor<8xf32>, tensor<f32>, tensor<8xf32>)
func.func @others(%x: tensor<8xf32>, %scale: tensor<f32>) -> tensor<8xf32> {
  %ones = arith.constant dense<1.0> : tensor<8xf32>
  %e = tensor.empty() : tensor<8xf32>
  %0 = linalg.generic {indexing_maps = [#row, #one, #row, #row], iterator_types = ["parallel"]}
      ins(%x, %scale, %ones : tensor<8xf32>, tensor<f32>, tensor<8xf32>) outs(%e : tensor<8xf32>) {
  ^bb0(%in: f32, %a: f32, %b: f32, %out: f32):
    %1 = arith.mulf %in, %a : f32
    %2 = arith.addf %1, %b : f32
    linalg.yield %2 : f32
  } -> tensor<8xf32>
  return %0 : tensor<8xf32>
}
