// A pass that fails leaves what shows the failure again; one that does not leaves nothing.
// RUN: rm -f %t.failed %t.good
// RUN: not %dlas_opt %s --cse --iree-preprocessing-convert-conv-to-channels-last=tiling-factor=32 --mlir-pass-pipeline-crash-reproducer=%t.failed 2>&1 | FileCheck %s --check-prefix=FAILED
// RUN: FileCheck %s < %t.failed
// RUN: not %dlas_opt --run-reproducer %t.failed 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: %dlas_opt %s --cse --mlir-pass-pipeline-crash-reproducer=%t.good -o /dev/null
// RUN: not ls %t.good %t.good.pending %t.failed.pending 2>&1 | FileCheck %s --check-prefix=NONE

// FAILED: error: 'tensor.expand_shape' op
// FAILED: note: to see it again: dlas-opt --run-reproducer {{.*}}.failed
// CHECK: linalg.conv_2d_nchw_fchw
// CHECK: mlir_reproducer: {
// CHECK-NEXT: pipeline: "builtin.module(cse,iree-preprocessing-convert-conv-to-channels-last{tiling-factor=32})"
// AGAIN: error: 'tensor.expand_shape' op
// NONE-COUNT-3: No such file

// RUN: not %dlas_opt --run-reproducer %s 2>&1 | FileCheck %s --check-prefix=NO
// NO: error: {{.*}}reproducer.mlir: there is no `mlir_reproducer` in it

func.func @f(%x: tensor<1x3x5x5xf32>, %w: tensor<4x3x3x3xf32>, %o: tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32> {
  %0 = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x3x5x5xf32>, tensor<4x3x3x3xf32>)
    outs(%o : tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  return %0 : tensor<1x4x3x3xf32>
}
