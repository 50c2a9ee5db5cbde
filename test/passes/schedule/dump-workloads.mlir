// Scheduled regions are written to files and shown as loops; the module stays as it is.
// RUN: rm -rf %t && %dlas_opt %s --dlas-dump-workloads=to=%t 2>%t.remarks | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK --input-file=%t.remarks
// RUN: cat %t/*.json | FileCheck %s --check-prefix=FILE
// RUN: not %dlas_opt %s --dlas-dump-workloads=folder=%t 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: not %dlas_opt %s --dlas-dump-workloads=to=%s/x 2>&1 | FileCheck %s --check-prefix=PLACE

// OPTION: error: `dlas-dump-workloads` has no option `folder`
// PLACE: error: cannot write {{.*}}.json: Not a directory

// REMARK: dump-workloads.mlir:{{[0-9]+}}:{{.*}} remark: workload [[KEY:[0-9a-f]{16}]] in {{.*}}[[KEY]].json
// REMARK: for workgroup in rows by 2 (2)
// REMARK: acc x 4 lanes of columns = none
// REMARK: acc = negf(tensor0[rows, columns])
// REMARK: store acc
// REMARK-NOT: remark
// FILE: "schedule": {
// FILE: "vector": "columns"

// CHECK-LABEL: func.func @scheduled
// CHECK: flow.dispatch.region
// CHECK: dlas.schedule
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @scheduled(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>)
      attrs = {dlas.loops = ["rows", "columns"],
               dlas.schedule = {kind = "cpu", distribute = {rows = 2}, tile = {columns = 4}, order = ["rows", "columns"], vector = "columns", lanes = 4}} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}

// Without a schedule there is nothing to be written.
// CHECK-LABEL: func.func @without
// CHECK: flow.dispatch.region
func.func @without(%x: tensor<4x8xf32>) -> tensor<4x8xf32> {
  %y = flow.dispatch.region -> (tensor<4x8xf32>) {
    %e = tensor.empty() : tensor<4x8xf32>
    %1 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.negf %p : f32
      linalg.yield %s : f32
    } -> tensor<4x8xf32>
    flow.return %1 : tensor<4x8xf32>
  }
  return %y : tensor<4x8xf32>
}
