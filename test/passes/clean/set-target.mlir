// RUN: %dlas_opt %s --split-input-file --dlas-set-target="target=x86-64-avx2 figures=vector_bits=256,vector_registers=16,cost.sparse_loop=20" | FileCheck %s
// RUN: %dlas_opt %s --split-input-file --dlas-set-target="target=gpu kind=gpu figures=shared_bytes=65536,matrix_instructions=m16n8k16.f16.f32+m16n8k8.tf32.f32" | FileCheck %s --check-prefix=DEVICE
// RUN: not %dlas_opt %s --dlas-set-target=figures=vector_bits=-1 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not %dlas_opt %s --dlas-set-target=figures=vector_bits=96 2>&1 | FileCheck %s --check-prefix=POWER
// RUN: not %dlas_opt %s --dlas-set-target=figures=vector_bits=many 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not %dlas_opt %s --dlas-set-target=figures=vector_bit=256 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not %dlas_opt %s --dlas-set-target=figures=cost.sparse_lop=2 2>&1 | FileCheck %s --check-prefix=COST
// RUN: not %dlas_opt %s --dlas-set-target=figures=cost=2 2>&1 | FileCheck %s --check-prefix=TABLE
// RUN: not %dlas_opt %s --dlas-set-target=figures=l1d_bytes.size=2 2>&1 | FileCheck %s --check-prefix=NUMBER
// RUN: not %dlas_opt %s --dlas-set-target=figures=vector_bits 2>&1 | FileCheck %s --check-prefix=PAIR
// RUN: not %dlas_opt %s --dlas-set-target="kind=gpu figures=vector_bits=256" 2>&1 | FileCheck %s --check-prefix=KIND
// RUN: not %dlas_opt %s --dlas-set-target="kind=gpu threads=2" 2>&1 | FileCheck %s --check-prefix=THREADS
// RUN: not %dlas_opt %s --dlas-set-target=kind=tpu 2>&1 | FileCheck %s --check-prefix=TPU
// RUN: not %dlas_opt %s --dlas-set-target=figures=int8_dot=vpdpbus 2>&1 | FileCheck %s --check-prefix=DOT

// The figures are written; those that are not given are those of any target.
// CHECK: module attributes {dlas.target = {bf16_dot = "", bsr2_break_even = 50 : i64, {{.*}}, cost = {{{.*}}column_start = 5.000000e-01 : f64,
// CHECK-SAME: sparse_loop = 2.000000e+01 : f64,
// CHECK-SAME: kind = "cpu", l1d_bytes = 32768 : i64, l2_bytes = 1048576 : i64,
// CHECK-SAME: name = "x86-64-avx2", sparse_bits = 256 : i64, threads = 1 : i64, vector_bits = 256 : i64, vector_registers = 16 : i64}}
// DEVICE: module attributes {dlas.target = {{.*}}kind = "gpu", lanes = 4 : i64, load_bytes = 16 : i64, matrix_instructions = ["m16n8k16.f16.f32", "m16n8k8.tf32.f32"], name = "gpu",
// DEVICE-SAME: shared_bytes = 65536 : i64
// DEVICE-NOT: {{[^_]}}threads
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

// RANGE: error: vector_bits: expected at least 64, found -1
// POWER: error: vector_bits: expected a power of two, found 96
// WORD: error: vector_bits: expected a whole number, found 'many'
// NAME: error: unknown key `vector_bit` (did you mean `vector_bits`?); known are
// COST: error: unknown key `cost.sparse_lop` (did you mean `sparse_loop`?)
// TABLE: error: cost: expected a table, found '2'
// NUMBER: error: l1d_bytes: expected a whole number, found {'size': '2'}
// PAIR: error: expected key=value such as vector_bits=512, found `vector_bits`
// KIND: error: vector_bits is a figure of CPUs, and this target is a GPU: leave it out
// THREADS: error: threads is a figure of CPUs, and this target is a GPU: leave it out
// TPU: error: `kind`: expected cpu or gpu, found `tpu`
// DOT: error: int8_dot: expected one of vpdpbusd, vpmaddwd, smull, usdot, found `vpdpbus` (did you mean `vpdpbusd`?)
