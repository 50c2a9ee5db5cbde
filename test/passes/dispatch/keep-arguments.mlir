// RUN: %dlas_opt %s --split-input-file --dlas-keep-arguments | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-keep-arguments=length=1 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`length`

// The initial value of a product is copied; what is returned is the argument.
// CHECK-LABEL: func.func @initial_value
// CHECK: %[[COPY:.*]] = flow.dispatch.workgroups(%arg2) : (tensor<3x4xi32>) -> tensor<3x4xi32> =
// CHECK-NEXT: (%[[IN:.*]]: !iree_tensor_ext.dispatch.tensor<readonly:tensor<3x4xi32>>, %[[OUT:.*]]: !iree_tensor_ext.dispatch.tensor<writeonly:tensor<3x4xi32>>)
// CHECK: %[[LOADED:.*]] = iree_tensor_ext.dispatch.tensor.load %[[IN]], offsets = [0, 0], sizes = [3, 4], strides = [1, 1]
// CHECK: iree_tensor_ext.dispatch.tensor.store %[[LOADED]], %[[OUT]], offsets = [0, 0], sizes = [3, 4], strides = [1, 1]
// CHECK: %[[PRODUCT:.*]] = linalg.matmul {{.*}} outs(%[[COPY]] : tensor<3x4xi32>)
// CHECK: return %[[PRODUCT]], %arg2
func.func @initial_value(%x: tensor<3x5xi32>, %y: tensor<5x4xi32>, %start: tensor<3x4xi32>) -> (tensor<3x4xi32>, tensor<3x4xi32>) {
  %0 = linalg.matmul ins(%x, %y : tensor<3x5xi32>, tensor<5x4xi32>) outs(%start : tensor<3x4xi32>) -> tensor<3x4xi32>
  return %0, %start : tensor<3x4xi32>, tensor<3x4xi32>
}

// -----

// So is what an insertion, a kernel and a loop write into, each in a copy of its own.
// CHECK-LABEL: func.func @updated
// CHECK: %[[A:.*]] = flow.dispatch.workgroups(%arg1)
// CHECK: tensor.insert_slice %arg0 into %[[A]]
// CHECK: %[[B:.*]] = flow.dispatch.workgroups(%arg1)
// CHECK: flow.dispatch.workgroups(%arg0, %[[B]]) : (tensor<1x4xf32>, tensor<5x4xf32>) -> %[[B]] =
// CHECK: %[[C:.*]] = flow.dispatch.workgroups(%arg1)
// CHECK: scf.for {{.*}} iter_args(%[[CARRIED:.*]] = %[[C]])
// CHECK-NOT: flow.dispatch.workgroups
// CHECK: tensor.insert_slice %arg0 into %[[CARRIED]]
func.func @updated(%x: tensor<1x4xf32>, %into: tensor<5x4xf32>) -> (tensor<5x4xf32>, tensor<5x4xf32>, tensor<5x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %0 = tensor.insert_slice %x into %into[1, 0] [1, 4] [1, 1] : tensor<1x4xf32> into tensor<5x4xf32>
  %1 = flow.dispatch.workgroups(%x, %into) : (tensor<1x4xf32>, tensor<5x4xf32>) -> %into =
      (%in: !iree_tensor_ext.dispatch.tensor<readonly:tensor<1x4xf32>>, %out: !iree_tensor_ext.dispatch.tensor<readwrite:tensor<5x4xf32>>) {
    %loaded = iree_tensor_ext.dispatch.tensor.load %in, offsets = [0, 0], sizes = [1, 4], strides = [1, 1] : !iree_tensor_ext.dispatch.tensor<readonly:tensor<1x4xf32>> -> tensor<1x4xf32>
    iree_tensor_ext.dispatch.tensor.store %loaded, %out, offsets = [2, 0], sizes = [1, 4], strides = [1, 1] : tensor<1x4xf32> -> !iree_tensor_ext.dispatch.tensor<readwrite:tensor<5x4xf32>>
    flow.return
  }
  %2 = scf.for %i = %c0 to %c3 step %c1 iter_args(%z = %into) -> tensor<5x4xf32> {
    %t = tensor.insert_slice %x into %z[%i, 0] [1, 4] [1, 1] : tensor<1x4xf32> into tensor<5x4xf32>
    scf.yield %t : tensor<5x4xf32>
  }
  return %0, %1, %2 : tensor<5x4xf32>, tensor<5x4xf32>, tensor<5x4xf32>
}

// -----

// An argument in another shape, in part, and one that an operation passes on.
// CHECK-LABEL: func.func @forms
// CHECK: %[[ROW:.*]] = tensor.expand_shape %arg0
// CHECK: %[[A:.*]] = flow.dispatch.workgroups(%[[ROW]]) : (tensor<1x4xi1>) -> tensor<1x4xi1>
// CHECK: tensor.insert_slice %arg1 into %[[A]]
// CHECK: %[[PART:.*]] = tensor.extract_slice %arg2
// CHECK: %[[B:.*]] = flow.dispatch.workgroups(%[[PART]]) : (tensor<1x4xi1>) -> tensor<1x4xi1>
// CHECK: tensor.insert_slice %arg1 into %[[B]]
// CHECK: %[[SAME:.*]] = linalg.generic
// CHECK: %[[C:.*]] = flow.dispatch.workgroups(%[[SAME]]) : (tensor<5x4xi1>) -> tensor<5x4xi1>
// CHECK: tensor.insert_slice %arg1 into %[[C]]
func.func @forms(%x: tensor<4xi1>, %y: tensor<1x1xi1>, %z: tensor<5x4xi1>) -> (tensor<1x4xi1>, tensor<1x4xi1>, tensor<5x4xi1>) {
  %row = tensor.expand_shape %x [[0, 1]] output_shape [1, 4] : tensor<4xi1> into tensor<1x4xi1>
  %0 = tensor.insert_slice %y into %row[0, 1] [1, 1] [1, 1] : tensor<1x1xi1> into tensor<1x4xi1>
  %part = tensor.extract_slice %z[2, 0] [1, 4] [1, 1] : tensor<5x4xi1> to tensor<1x4xi1>
  %1 = tensor.insert_slice %y into %part[0, 1] [1, 1] [1, 1] : tensor<1x1xi1> into tensor<1x4xi1>
  %e = tensor.empty() : tensor<5x4xi1>
  %same = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%z : tensor<5x4xi1>) outs(%e : tensor<5x4xi1>) {
  ^bb0(%a: i1, %o: i1):
    linalg.yield %a : i1
  } -> tensor<5x4xi1>
  %2 = tensor.insert_slice %y into %same[0, 1] [1, 1] [1, 1] : tensor<1x1xi1> into tensor<5x4xi1>
  return %0, %1, %2 : tensor<1x4xi1>, tensor<1x4xi1>, tensor<5x4xi1>
}

// -----

// In a region that is no kernel yet: the copy is made before it, and what the region takes of it is taken of the copy.
// CHECK-LABEL: func.func @in_a_region
// CHECK: %[[COPY:.*]] = flow.dispatch.workgroups(%arg2)
// CHECK: flow.dispatch.region
// CHECK: %[[PART:.*]] = tensor.extract_slice %[[COPY]]
// CHECK: linalg.matmul {{.*}} outs(%[[PART]] : tensor<3x4xi32>)
func.func @in_a_region(%x: tensor<3x5xi32>, %y: tensor<5x4xi32>, %start: tensor<9x4xi32>) -> tensor<3x4xi32> {
  %0 = flow.dispatch.region -> (tensor<3x4xi32>) {
    %part = tensor.extract_slice %start[2, 0] [3, 4] [1, 1] : tensor<9x4xi32> to tensor<3x4xi32>
    %1 = linalg.matmul ins(%x, %y : tensor<3x5xi32>, tensor<5x4xi32>) outs(%part : tensor<3x4xi32>) -> tensor<3x4xi32>
    flow.return %1 : tensor<3x4xi32>
  }
  return %0 : tensor<3x4xi32>
}

// -----

// A destination that nobody reads is a new one. Left alone: what is computed, read, padded, concatenated or inserted.
// CHECK-LABEL: func.func @others
// CHECK-NOT: flow.dispatch.workgroups
// CHECK: %[[NEW:.*]] = tensor.empty() : tensor<3x4xf32>
// CHECK: %[[NEGATED:.*]] = linalg.generic {{.*}} ins(%arg1 : tensor<3x4xf32>) outs(%[[NEW]] : tensor<3x4xf32>)
// CHECK: linalg.matmul {{.*}} outs(%[[NEGATED]] : tensor<3x4xf32>)
// CHECK-NOT: flow.dispatch.workgroups
func.func @others(%x: tensor<3x4xf32>, %y: tensor<3x4xf32>, %w: tensor<4x4xf32>) -> (tensor<3x4xf32>, tensor<8x4xf32>, tensor<3x4xf32>) {
  %zero = arith.constant 0.0 : f32
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<3x4xf32>) outs(%x : tensor<3x4xf32>) {
  ^bb0(%a: f32, %o: f32):
    %n = arith.negf %a : f32
    linalg.yield %n : f32
  } -> tensor<3x4xf32>
  %1 = linalg.matmul ins(%y, %w : tensor<3x4xf32>, tensor<4x4xf32>) outs(%0 : tensor<3x4xf32>) -> tensor<3x4xf32>
  %2 = tensor.pad %y low[1, 0] high[1, 0] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : f32
  } : tensor<3x4xf32> to tensor<5x4xf32>
  %3 = tensor.concat dim(0) %x, %2 : (tensor<3x4xf32>, tensor<5x4xf32>) -> tensor<8x4xf32>
  %4 = tensor.insert_slice %y into %3[2, 0] [3, 4] [1, 1] : tensor<3x4xf32> into tensor<8x4xf32>
  return %1, %4, %x : tensor<3x4xf32>, tensor<8x4xf32>, tensor<3x4xf32>
}
