// RUN: %dlas_opt %s --split-input-file --dlas-set-target="target=x86-64-avx2 vector-bits=256 vector-registers=16" | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-set-target=vector-bits=-1 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not %dlas_opt %s --split-input-file --dlas-set-target=vector-bits=13 2>&1 | FileCheck %s --check-prefix=POWER
// RUN: not %dlas_opt %s --split-input-file --dlas-set-target=vector-bits=256 2>&1 | FileCheck %s --check-prefix=REGISTERS
// RUN: not %dlas_opt %s --split-input-file --dlas-set-target=vector-bit=256 2>&1 | FileCheck %s --check-prefix=NAME

// The figures are written; those that are not given have their defaults.
// CHECK: module attributes {dlas.target = {bf16_dot = "", bsr2_break_even = 50 : i64, bsr4_break_even = 30 : i64, bsr8_break_even = 30 : i64, csr_break_even = 70 : i64,
// CHECK-SAME: fma_chains = 10 : i64, int8_dot = "", l1d_bytes = 32768 : i64, l2_bytes = 1048576 : i64,
// CHECK-SAME: load_cost = 15 : i64, name = "x86-64-avx2", sparse_bits = 0 : i64, threads = 1 : i64, vector_bits = 256 : i64, vector_registers = 16 : i64}}
// CHECK-LABEL: func.func @any
// CHECK-NEXT: return
func.func @any() {
  return
}

// -----

// Figures that are there already are replaced, and other attributes are left alone.
// CHECK: module attributes {dlas.other = 1 : i64, dlas.target = {
// CHECK-NOT: "older"
// CHECK-SAME: name = "x86-64-avx2"
module attributes {dlas.target = {name = "older", threads = 4 : i64}, dlas.other = 1 : i64} {
}

// RANGE: error: `vector-bits`: expected at least 0, found -1
// RANGE-NEXT: dlas-set-target{vector-bits=-1}
// RANGE-NEXT: {{^ {28}\^~$}}

// POWER: error: vector-bits: expected 0 or a power of two from 64, found 13

// REGISTERS: error: vector-registers: expected at least 8 where there are vectors, found 0

// NAME: error: `dlas-set-target` has no option `vector-bit` (did you mean `vector-bits`?)
// NAME-NEXT: dlas-set-target{vector-bit=256}
// NAME-NEXT: {{^ {16}\^~~~~~~~~~$}}
