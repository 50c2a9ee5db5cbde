// RUN: %dlas_opt %s --dlas-outline-kernels | FileCheck %s
// RUN: not %dlas_opt %s --dlas-outline-kernels=name=x 2>&1 | FileCheck %s --check-prefix=NAME

// NAME: error: `dlas-outline-kernels` has no option `name`; it has none

// CHECK: flow.executable private @threads_main_dispatch_0
// CHECK: flow.executable.export public @threads_main_dispatch_0
// CHECK: func.func @threads_main_dispatch_0
// CHECK: math.exp
// CHECK: func.func @main(
// CHECK: flow.dispatch @threads_main_dispatch_0::@threads_main_dispatch_0(%arg0) {dlas.layer = "a"}
// CHECK-NOT: flow.dispatch.workgroups
// CHECK: linalg.transpose
// CHECK: return
func.func @main(%x: tensor<4x8xf32>) -> tensor<8x4xf32> {
  %0 = flow.dispatch.workgroups(%x) : (tensor<4x8xf32>) -> tensor<4x8xf32> attributes {dlas.layer = "a"} =
      (%a: !iree_tensor_ext.dispatch.tensor<readonly:tensor<4x8xf32>>, %b: !iree_tensor_ext.dispatch.tensor<writeonly:tensor<4x8xf32>>) {
    %1 = iree_tensor_ext.dispatch.tensor.load %a, offsets=[0,0], sizes=[4,8], strides=[1,1] : !iree_tensor_ext.dispatch.tensor<readonly:tensor<4x8xf32>> -> tensor<4x8xf32>
    %2 = math.exp %1 : tensor<4x8xf32>
    iree_tensor_ext.dispatch.tensor.store %2, %b, offsets=[0,0], sizes=[4,8], strides=[1,1] : tensor<4x8xf32> -> !iree_tensor_ext.dispatch.tensor<writeonly:tensor<4x8xf32>>
    flow.return
  } count() -> (index, index, index) {
    %c1 = arith.constant 1 : index
    flow.return %c1, %c1, %c1 : index, index, index
  }
  %3 = tensor.empty() : tensor<8x4xf32>
  %4 = linalg.transpose ins(%0 : tensor<4x8xf32>) outs(%3 : tensor<8x4xf32>) permutation = [1, 0]
  return %4 : tensor<8x4xf32>
}

// Nothing is left alone but what is no kernel.
// CHECK-LABEL: func.func @nothing
// CHECK-NEXT: return
func.func @nothing(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// CHECK-LABEL: func.func @calling
// CHECK-NEXT: call @nothing(%arg0)
// CHECK-NEXT: call @threads_nothing(%arg0)
func.func @calling(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = func.call @nothing(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = func.call @threads_nothing(%x) : (tensor<4xf32>) -> tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @threads_nothing
func.func @threads_nothing(%x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// Of constants alone iree-compile would compute a kernel itself; what reads the result is computed where that is.
// CHECK-LABEL: func.func @of_constants
// CHECK: %[[CONSTANT:.*]] = arith.constant dense<2.000000e+00> : tensor<4xf32>
// CHECK: %[[HIDDEN:.*]] = util.optimization_barrier %[[CONSTANT]] : tensor<4xf32>
// CHECK: %[[FIRST:.*]] = flow.dispatch @e::@k(%[[HIDDEN]], %[[CONSTANT]])
// CHECK-NEXT: %[[SECOND:.*]] = flow.dispatch @e::@k(%[[FIRST]], %[[CONSTANT]])
// CHECK-NEXT: flow.dispatch @e::@k(%arg0, %[[SECOND]])
flow.executable private @e {
  flow.executable.export public @k
}
func.func @of_constants(%x: tensor<4xf32>) -> tensor<4xf32> {
  %c = arith.constant dense<2.0> : tensor<4xf32>
  %0 = flow.dispatch @e::@k(%c, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %1 = flow.dispatch @e::@k(%0, %c) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  %2 = flow.dispatch @e::@k(%x, %1) : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
  return %2 : tensor<4xf32>
}
