// The parts are treated one by one: an error in one does not stop the others.
// RUN: not %dlas_opt %s --split-input-file --cse > %t.out 2> %t.err
// RUN: FileCheck %s < %t.out
// RUN: FileCheck %s --check-prefix=ERROR < %t.err
// RUN: not %dlas_opt %s --split-input-file --cse -o %t.none
// RUN: not ls %t.none

// CHECK: func.func @first
// CHECK: // -----
// CHECK-NOT: @second
// CHECK: func.func @third
// CHECK-NOT: // -----

// ERROR: split-input-file.mlir:[[# @LINE + 9]]:3: error: custom op 'retur' is unknown
// ERROR-NEXT: {{^  retur$}}
// ERROR-NOT: error:

func.func @first() {
  return
}
// -----
func.func @second() {
  retur
}
// -----
func.func @third() {
  return
}

// RUN: echo 'module @a {} //==' > %t.mlir
// RUN: echo '//--' >> %t.mlir
// RUN: echo 'module @b {}' >> %t.mlir
// RUN: %dlas_opt %t.mlir --split-input-file=//-- --output-split-marker=//// | FileCheck %s --check-prefix=MARKER
// MARKER: module @a
// MARKER: {{^////$}}
// MARKER: module @b
