// Python, upstream and IREE passes in one pipeline, nested ones too.
// RUN: %dlas_opt %s --pass-pipeline='builtin.module(dlas-set-target{target=t},func.func(cse,canonicalize{max-iterations=2}),iree-preprocessing-convert-conv-to-channels-last)' --dump-pass-pipeline 2>&1 | FileCheck %s
// CHECK: builtin.module(dlas-set-target{target=t},func.func(cse,canonicalize{max-iterations=2}),iree-preprocessing-convert-conv-to-channels-last)
// CHECK: module attributes {dlas.target = {{.*}}name = "t"
// CHECK: linalg.conv_2d_nhwc_hwcf

// What is printed can be pasted back.
// RUN: %dlas_opt %s --pass-pipeline='dlas-set-target { target="a b" } , func.func( cse )' --dump-pass-pipeline -o %t 2>&1 | FileCheck %s --check-prefix=DUMP
// DUMP: builtin.module(dlas-set-target{target="a b"},func.func(cse))

// Each pass is a flag; they run in the order they are given.
// RUN: %dlas_opt %s --dlas-set-target="target=first threads=2" --cse -dlas-set-target=target=second | FileCheck %s --check-prefix=FLAGS
// FLAGS: name = "second", {{.*}}threads = 1

// A flag's value can stand alone.
// RUN: %dlas_opt --pass-pipeline "builtin.module(dlas-set-target{target=apart})" -- %s | FileCheck %s --check-prefix=APART
// APART: name = "apart"

// RUN: cat %s | %dlas_opt --dlas-set-target=target=piped - | FileCheck %s --check-prefix=PIPED
// RUN: cat %s | %dlas_opt --dlas-set-target=target=piped | FileCheck %s --check-prefix=PIPED
// PIPED: name = "piped"

func.func @f(%x: tensor<1x3x5x5xf32>, %w: tensor<4x3x3x3xf32>, %o: tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32> {
  %0 = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x3x5x5xf32>, tensor<4x3x3x3xf32>)
    outs(%o : tensor<1x4x3x3xf32>) -> tensor<1x4x3x3xf32>
  return %0 : tensor<1x4x3x3xf32>
}
