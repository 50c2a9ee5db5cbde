// RUN: %dlas_opt %s --preset=x86-64-avx2/stock | FileCheck %s --check-prefix=STOCK
// STOCK-NOT: dlas.target

// RUN: %dlas_opt %s --preset=x86-64-avx2/direct | FileCheck %s --check-prefix=DIRECT
// DIRECT: module attributes {{{.*}}dlas.target = {{.*}}name = "x86-64-avx2"

// A user's directory comes first, and its mistakes are shown in its own file.
// RUN: env DLAS_PRESETS=%S/Inputs/presets %dlas_opt %s --preset=mine/good | FileCheck %s --check-prefix=MINE
// MINE: module attributes {dlas.target = {{.*}}name = "mine", {{.*}}vector_bits = 64
// RUN: not env DLAS_PRESETS=%S/Inputs/presets %dlas_opt %s --preset=mine/misspelt 2>&1 | FileCheck %s --check-prefix=MISSPELT
// MISSPELT: mine.toml:19:3: error: `dlas-set-tarket` is not a known pass (did you mean `dlas-set-target`?)
// MISSPELT-NEXT: {{^  dlas-set-tarket$}}
// MISSPELT-NEXT: {{^  \^~+$}}

// RUN: not %dlas_opt %s --preset=x86-64-avx2/drect 2>&1 | FileCheck %s --check-prefix=RECIPE
// RECIPE: error: {{.*}}x86-64-avx2.toml: there is no recipe `drect` (did you mean `direct`?)
// RUN: not %dlas_opt %s --preset=x86-64-avx3/direct 2>&1 | FileCheck %s --check-prefix=TARGET
// TARGET: error: there is no target `x86-64-avx3` (did you mean `x86-64-avx2`?)

func.func @f() {
  return
}
