// RUN: %dlas_opt %s --emit-bytecode -o %t.mlirbc
// RUN: %dlas_opt %t.mlirbc | FileCheck %s
// RUN: %dlas_opt < %t.mlirbc | FileCheck %s
// CHECK: func.func @f
// CHECK: dense_resource<w>
// CHECK: dense<[1.0{{.*}}, 2.0{{.*}}, 3.0{{.*}}]>
// CHECK: {-#
// CHECK: w: "0x04000000000080400000A040"

// RUN: %dlas_opt %s --mlir-elide-resource-strings-if-larger=4 --mlir-elide-elementsattrs-if-larger=2 | FileCheck %s --check-prefix=ELIDED
// ELIDED: dense_resource<__elided__>
// ELIDED-NOT: w: "0x

// RUN: %dlas_opt %s --mlir-print-debuginfo | FileCheck %s --check-prefix=ALIASES
// ALIASES: loc(#loc
// ALIASES: #loc{{[0-9]+}} = loc("{{.*}}output.mlir":{{[0-9]+}}:{{[0-9]+}})
// RUN: %dlas_opt %s --mlir-print-debuginfo --mlir-print-local-scope | FileCheck %s --check-prefix=LOCAL
// LOCAL-NOT: #loc
// LOCAL: return {{.*}} loc("{{.*}}output.mlir":{{[0-9]+}}:{{[0-9]+}})

// RUN: %dlas_opt %s --mlir-print-op-generic | FileCheck %s --check-prefix=GENERIC
// GENERIC: "builtin.module"() ({
// GENERIC: "func.func"()

// The output can be the input.
// RUN: cp %s %t.same.mlir
// RUN: %dlas_opt %t.same.mlir --dlas-set-target -o %t.same.mlir
// RUN: FileCheck %s --check-prefix=SAME < %t.same.mlir
// SAME: module attributes {dlas.target

func.func @f() -> (tensor<2xf32>, tensor<3xf32>) {
  %0 = arith.constant dense_resource<w> : tensor<2xf32>
  %1 = arith.constant dense<[1.0, 2.0, 3.0]> : tensor<3xf32>
  return %0, %1 : tensor<2xf32>, tensor<3xf32>
}

{-#
  dialect_resources: { builtin: { w: "0x04000000000080400000A040" } }
#-}
