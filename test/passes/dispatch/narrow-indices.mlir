// RUN: %dlas_opt %s --split-input-file --dlas-narrow-indices | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-narrow-indices=bits=16 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`bits`

#id = affine_map<(d0) -> (d0)>

// A table, whose numbers may count from the end: the table, the comparison and the sum are of 32 bits.
// CHECK-LABEL: func.func @table
// CHECK: %[[TABLE:.*]] = arith.constant dense<[1, -2, 0, 7, 3]> : tensor<5xi32>
// CHECK: linalg.generic {{.*}} ins(%[[TABLE]] : tensor<5xi32>)
// CHECK-NEXT: ^bb0(%[[IN:.*]]: i32, %{{.*}}: f32):
// CHECK-NOT: i64
// CHECK: arith.cmpi slt, %[[IN]], %{{.*}} : i32
// CHECK: arith.addi %[[IN]], %{{.*}} : i32
// CHECK: %[[PLACE:.*]] = arith.select {{.*}} : i32
// CHECK: arith.index_cast %[[PLACE]] : i32 to index
func.func @table(%x: tensor<8xf32>) -> tensor<5xf32> {
  %c0 = arith.constant 0 : i64
  %c8 = arith.constant 8 : i64
  %table = arith.constant dense<[1, -2, 0, 7, 3]> : tensor<5xi64>
  %e = tensor.empty() : tensor<5xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%table : tensor<5xi64>) outs(%e : tensor<5xf32>) {
  ^bb0(%in: i64, %out: f32):
    %1 = arith.cmpi slt, %in, %c0 : i64
    %2 = arith.addi %in, %c8 : i64
    %3 = arith.select %1, %2, %in : i64
    %4 = arith.index_cast %3 : i64 to index
    %5 = tensor.extract %x[%4] : tensor<8xf32>
    linalg.yield %5 : f32
  } -> tensor<5xf32>
  return %0 : tensor<5xf32>
}

// -----

#id = affine_map<(d0) -> (d0)>

// Numbers that only the caller knows, of which the lower half is taken. What they are compared with stays.
// CHECK-LABEL: func.func @argument
// CHECK: ^bb0(%[[IN:.*]]: i64, %{{.*}}: f32):
// CHECK: %[[HALF:.*]] = arith.trunci %[[IN]] : i64 to i32
// CHECK: %[[NEGATIVE:.*]] = arith.cmpi slt, %[[IN]], %{{.*}} : i64
// CHECK: %[[SUM:.*]] = arith.addi %[[HALF]], %{{.*}} : i32
// CHECK: %[[PLACE:.*]] = arith.select %[[NEGATIVE]], %[[SUM]], %[[HALF]] : i32
// CHECK: arith.index_cast %[[PLACE]] : i32 to index
func.func @argument(%x: tensor<8xf32>, %i: tensor<5xi64>) -> tensor<5xf32> {
  %c0 = arith.constant 0 : i64
  %c8 = arith.constant 8 : i64
  %e = tensor.empty() : tensor<5xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%i : tensor<5xi64>) outs(%e : tensor<5xf32>) {
  ^bb0(%in: i64, %out: f32):
    %1 = arith.cmpi slt, %in, %c0 : i64
    %2 = arith.addi %in, %c8 : i64
    %3 = arith.select %1, %2, %in : i64
    %4 = arith.index_cast %3 : i64 to index
    %5 = tensor.extract %x[%4] : tensor<8xf32>
    linalg.yield %5 : f32
  } -> tensor<5xf32>
  return %0 : tensor<5xf32>
}

// -----

#id = affine_map<(d0) -> (d0)>

// Only the lower half of a table with larger numbers counts where they are added to others, but the whole of them where
// they are compared: it stays. What is no place of an element stays as it is.
// CHECK-LABEL: func.func @larger
// CHECK: dense<[1, 4294967298, 0, 7, 3]> : tensor<5xi64>
// CHECK: arith.trunci %{{.*}} : i64 to i32
// CHECK: linalg.generic
// CHECK-NEXT: ^bb0(%[[IN:.*]]: i64, %{{.*}}: i64):
// CHECK-NEXT: arith.index_cast %[[IN]] : i64 to index
func.func @larger(%x: tensor<8xi64>) -> (tensor<5xi64>, tensor<5xi64>) {
  %table = arith.constant dense<[1, 4294967298, 0, 7, 3]> : tensor<5xi64>
  %c7 = arith.constant 7 : i64
  %e = tensor.empty() : tensor<5xi64>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%table : tensor<5xi64>) outs(%e : tensor<5xi64>) {
  ^bb0(%in: i64, %out: i64):
    %1 = arith.cmpi sgt, %in, %c7 : i64
    %2 = arith.select %1, %c7, %in : i64
    %3 = arith.index_cast %2 : i64 to index
    %4 = tensor.extract %x[%3] : tensor<8xi64>
    linalg.yield %4 : i64
  } -> tensor<5xi64>
  %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%0 : tensor<5xi64>) outs(%e : tensor<5xi64>) {
  ^bb0(%in: i64, %out: i64):
    %2 = arith.index_cast %in : i64 to index
    %3 = arith.addi %2, %2 : index
    %4 = arith.index_cast %3 : index to i64
    linalg.yield %4 : i64
  } -> tensor<5xi64>
  return %0, %1 : tensor<5xi64>, tensor<5xi64>
}

// -----

#id = affine_map<(d0) -> (d0)>

// Whether a place is one is asked of all its bits.
// CHECK-LABEL: func.func @asserted
// CHECK: ^bb0(%[[IN:.*]]: i64, %{{.*}}: f32):
// CHECK: %[[HALF:.*]] = arith.trunci %[[IN]] : i64 to i32
// CHECK: %[[NARROW:.*]] = arith.index_cast %[[HALF]] : i32 to index
// CHECK: %[[WIDE:.*]] = arith.index_cast %[[IN]] : i64 to index
// CHECK: arith.cmpi slt, %[[WIDE]]
// CHECK: tensor.extract %{{.*}}[%[[NARROW]]]
func.func @asserted(%x: tensor<8xf32>, %i: tensor<5xi64>) -> tensor<5xf32> {
  %c8 = arith.constant 8 : index
  %e = tensor.empty() : tensor<5xf32>
  %0 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%i : tensor<5xi64>) outs(%e : tensor<5xf32>) {
  ^bb0(%in: i64, %out: f32):
    %1 = arith.index_cast %in : i64 to index
    %2 = arith.cmpi slt, %1, %c8 : index
    cf.assert %2, "index must be smaller than dim size"
    %3 = tensor.extract %x[%1] : tensor<8xf32>
    linalg.yield %3 : f32
  } -> tensor<5xf32>
  return %0 : tensor<5xf32>
}
