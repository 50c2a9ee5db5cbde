// RUN: %dlas_opt %s --split-input-file --dlas-pass-result-storage | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-pass-result-storage=first=1 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `dlas-pass-result-storage` has no option `first`

// Attributes of arguments that there are stay.
// CHECK: func.func @main(%{{.*}}: tensor<2x4xi8> {iree.abi.encoding = tensor<2x4xui8>},
// CHECK-SAME: %{{.*}}: tensor<2x4xi8> {iree.abi.output = 0 : index}, %{{.*}}: tensor<3xf32> {iree.abi.output = 1 : index}) -> (tensor<2x4xi8>, tensor<3xf32>)
func.func @main(%x: tensor<2x4xi8> {iree.abi.encoding = tensor<2x4xui8>}) -> (tensor<2x4xi8>, tensor<3xf32>) {
  %y = arith.constant dense<1.0> : tensor<3xf32>
  return %x, %y : tensor<2x4xi8>, tensor<3xf32>
}

// -----

// CHECK: func.func private @inner(%{{.*}}: tensor<3xf32>) -> tensor<3xf32>
func.func private @inner(%x: tensor<3xf32>) -> tensor<3xf32> {
  return %x : tensor<3xf32>
}

// CHECK: func.func @dynamic(%{{.*}}: tensor<?xf32>) -> tensor<?xf32>
func.func @dynamic(%x: tensor<?xf32>) -> tensor<?xf32> {
  return %x : tensor<?xf32>
}

// CHECK: func.func @has(%{{.*}}: tensor<3xf32>, %{{.*}}: tensor<3xf32> {iree.abi.output = 0 : index}) -> tensor<3xf32>
func.func @has(%x: tensor<3xf32>, %y: tensor<3xf32> {iree.abi.output = 0 : index}) -> tensor<3xf32> {
  return %x : tensor<3xf32>
}

// CHECK: func.func @nothing()
func.func @nothing() {
  return
}
