// IR printing covers Python and native passes alike.
// RUN: %dlas_opt %s --dlas-set-target --cse --mlir-print-ir-after-all -o /dev/null 2>&1 | FileCheck %s --check-prefix=ALL
// ALL: IR Dump After SetTargetPass: dlas-set-target
// ALL: func.func @f
// ALL: IR Dump After CSEPass: cse

// RUN: %dlas_opt %s --dlas-set-target --cse --mlir-print-ir-before-all -o /dev/null 2>&1 | FileCheck %s --check-prefix=BEFORE
// BEFORE: IR Dump Before SetTargetPass: dlas-set-target
// BEFORE-NEXT: module {
// BEFORE: IR Dump Before CSEPass: cse
// BEFORE-NEXT: module attributes {dlas.target

// Only what changed something: there is nothing for the second cse to do.
// RUN: %dlas_opt %s --cse --dlas-set-target --cse --mlir-print-ir-after-change -o /dev/null 2>&1 | FileCheck %s --check-prefix=CHANGE
// CHANGE: IR Dump After CSEPass
// CHANGE: IR Dump After SetTargetPass
// CHANGE-NOT: IR Dump

// Chosen passes, one of them nested.
// RUN: %dlas_opt %s --pass-pipeline='dlas-set-target,func.func(canonicalize,cse)' --mlir-print-ir-before=cse --mlir-print-ir-after=dlas-set-target -o /dev/null 2>&1 | FileCheck %s --check-prefix=CHOSEN
// CHOSEN: IR Dump After dlas-set-target
// CHOSEN-NEXT: module attributes {dlas.target
// CHOSEN: IR Dump Before cse
// CHOSEN-NOT: IR Dump

// RUN: rm -rf %t.tree
// RUN: %dlas_opt %s --pass-pipeline='dlas-set-target,func.func(canonicalize),cse' --mlir-print-ir-tree-dir=%t.tree -o /dev/null
// RUN: ls %t.tree/builtin_module_no-symbol-name | FileCheck %s --check-prefix=TREE
// TREE: 0_dlas-set-target.mlir
// TREE: 1_cse.mlir
// TREE: func_func_f

// RUN: not %dlas_opt %s --pass-pipeline='func.func(canonicalize,iree-preprocessing-convert-conv-to-channels-last{tiling-factor=32})' --mlir-print-ir-after-failure 2>&1 | FileCheck %s --check-prefix=FAILURE
// FAILURE: IR Dump After {{.*}} Failed

// RUN: %dlas_opt %s --dlas-set-target --cse --mlir-timing --mlir-pass-statistics -o /dev/null 2>&1 | FileCheck %s --check-prefix=TIMING
// TIMING-DAG: Execution time report
// TIMING-DAG: SetTargetPass
// TIMING-DAG: Pass statistics report
// TIMING-DAG: num-cse'd

func.func @f(%x: tensor<1x3x5x5xf32>, %w: tensor<4x3x3x3xf32>, %o: tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32> {
  %dead = tensor.empty() : tensor<4xf32>
  %0 = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x3x5x5xf32>, tensor<4x3x3x3xf32>)
    outs(%o : tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  return %0 : tensor<1x4x3x3xf32>
}
