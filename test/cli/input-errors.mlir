// Bad input: the place with its line and a caret, exit code 1, and no output file.
// RUN: not %dlas_opt %s -o %t.out 2>&1 | FileCheck %s
// RUN: not ls %t.out
// CHECK: input-errors.mlir:[[# @LINE + 11]]:3: error: custom op 'retur' is unknown
// CHECK-NEXT: {{^  retur$}}
// CHECK-NEXT: {{^  \^$}}

// RUN: not %dlas_opt - < %s 2>&1 | FileCheck %s --check-prefix=STDIN
// STDIN: <stdin>:{{[0-9]+}}:3: error: custom op 'retur' is unknown
// STDIN-NEXT: {{^  retur$}}
// STDIN-NEXT: {{^  \^$}}

func.func @f() {
  // The caret above points at the next line.
  retur
}

// Bytecode that is cut off, and something else altogether.
// RUN: %python -c "import sys; sys.stdout.buffer.write(b'ML\xefR\x0d')" > %t.mlirbc
// RUN: not %dlas_opt %t.mlirbc 2>&1 | FileCheck %s --check-prefix=CUT
// CUT: error:
// CUT-NOT: Traceback
// RUN: %python -c "import sys; sys.stdout.buffer.write(bytes(range(128, 256)))" > %t.bin
// RUN: not %dlas_opt %t.bin 2>&1 | FileCheck %s --check-prefix=BINARY
// RUN: not %dlas_opt < %t.bin 2>&1 | FileCheck %s --check-prefix=BINARY
// BINARY: error:
// BINARY-NOT: Traceback

// An operation of a dialect that nobody knows.
// RUN: echo '"foo.bar"() : () -> ()' > %t.mlir
// RUN: not %dlas_opt %t.mlir 2>&1 | FileCheck %s --check-prefix=DIALECT
// RUN: %dlas_opt %t.mlir --allow-unregistered-dialect | FileCheck %s --check-prefix=ALLOWED
// DIALECT: :1:{{[0-9]+}}: error: operation being parsed with an unregistered dialect
// ALLOWED: "foo.bar"()

// RUN: not %dlas_opt %s %s 2>&1 | FileCheck %s --check-prefix=FILES
// FILES: error: expected one input file, found 2
// RUN: not %dlas_opt %t.mlir --allow-unregistered-dialect -o /no/such/directory/x 2>&1 | FileCheck %s --check-prefix=OUTPUT
// OUTPUT: error: cannot write /no/such/directory/x: No such file or directory
// RUN: not %dlas_opt %t.mlir -o 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: -o needs a value
