// RUN: %dlas_opt %s --split-input-file --verify-diagnostics
// RUN: not %dlas_opt %S/Inputs/unexpected.mlir --verify-diagnostics 2>&1 | FileCheck %s

func.func @beside() {
  retur // expected-error {{custom op 'retur' is unknown}}
}

// -----

func.func @after() {
  // expected-error@+1 {{unknown}}
  retur
}

// -----

func.func @above() {
  retur
  // expected-error@above {{unknown}}
}

// -----

func.func @below() {
  // expected-error@below {{unknown}}
  retur
}

// -----

func.func @regex() {
  // expected-error-re@+1 {{custom op '{{[a-z]+}}' is unknown}}
  retur
}

// CHECK: unexpected.mlir:3:3: error: unexpected error: custom op 'retur' is unknown
// CHECK-NEXT: {{^  retur$}}
// CHECK: unexpected.mlir:1:4: error: expected warning "never" was not produced
