// RUN: %dlas_opt %s --split-input-file --dlas-use-dot-products | FileCheck %s
// RUN: not %dlas_opt %s --dlas-use-dot-products=width=4 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}width

// Names of loops that were written by hand are checked by whoever carries them over.
// RUN: sed 's/"n", "oh", "k", "r", "c"]/"n", "oh", "k", "r"]/' %s > %t.few.mlir
// RUN: not %dlas_opt %t.few.mlir --split-input-file --dlas-use-dot-products 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: error: `dlas.loops`: there are 5 loops and 4 names (n, oh, k, r)
// RUN: sed 's/"n", "oh", "k", "r", "c"]/"n", "oh", "k", "k", "c"]/' %s > %t.twice.mlir
// RUN: not %dlas_opt %t.twice.mlir --split-input-file --dlas-use-dot-products 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: error: `dlas.loops`: two loops are called k
// RUN: sed 's/"n", "oh", "k", "r", "c"]/"n", "oh", "k", "r", "4c"]/' %s > %t.word.mlir
// RUN: not %dlas_opt %t.word.mlir --split-input-file --dlas-use-dot-products 2>&1 | FileCheck %s --check-prefix=WORD
// WORD: error: `dlas.loops`: '4c': a name is letters, digits and underscores, and begins with no digit
// RUN: sed 's/dlas.loops = \["n", "oh", "k", "r", "c"]/dlas.loops = "nhkrc"/' %s > %t.kind.mlir
// RUN: not %dlas_opt %t.kind.mlir --split-input-file --dlas-use-dot-products 2>&1 | FileCheck %s --check-prefix=KIND
// KIND: error: `dlas.loops` is "nhkrc", not an array of strings

// Channels are split by the width, weights are packed to match.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d0, d1 + d3, d4 * 4 + d5)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2, d3, d4, d5) -> (d3, d4, d2, d5)>
// CHECK-LABEL: func.func @channels
// CHECK: %[[W4:.*]] = linalg.pack %arg1 inner_dims_pos = [1] inner_tiles = [4] {{.*}} tensor<3x8x16xi8> -> tensor<3x2x16x4xi8>
// CHECK: linalg.generic {indexing_maps = [#[[X]], #[[W]], {{.*}}], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
// CHECK-SAME: ins(%arg0, %[[W4]] : tensor<1x9x8xi8>, tensor<3x2x16x4xi8>)
// CHECK-SAME: attrs = {dlas.dot = "vpdpbusd", dlas.loops = ["n", "oh", "k", "r", "c", "c4"], dlas.primitive = "direct"}
module attributes {dlas.target = {name = "t", kind = "cpu", int8_dot = "vpdpbusd"}} {
func.func @channels(%x: tensor<1x9x8xi8>, %w: tensor<3x8x16xi8>, %start: tensor<1x7x16xi32>) -> tensor<1x7x16xi32> {
  %y = linalg.generic {dlas.loops = ["n", "oh", "k", "r", "c"], dlas.primitive = "direct", indexing_maps = [affine_map<(n, h, k, fh, c) -> (n, h + fh, c)>, affine_map<(n, h, k, fh, c) -> (fh, c, k)>, affine_map<(n, h, k, fh, c) -> (n, h, k)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<1x9x8xi8>, tensor<3x8x16xi8>) outs(%start : tensor<1x7x16xi32>) {
  ^bb0(%a: i8, %b: i8, %acc: i32):
    %0 = arith.extui %a : i8 to i32
    %1 = arith.extsi %b : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %acc, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<1x7x16xi32>
  return %y : tensor<1x7x16xi32>
}
}

// -----

// Channels in blocks of another size are read without a filler: no more columns than there are.
// CHECK-LABEL: func.func @blocks
// CHECK-NOT: tensor.pad
// CHECK: ins(%arg0, {{.*}} : tensor<1x9x2x4xi8>, tensor<3x2x16x4xi8>)
module attributes {dlas.target = {name = "t", kind = "cpu", int8_dot = "vpdpbusd"}} {
func.func @blocks(%x: tensor<1x9x2x4xi8>, %w: tensor<3x8x16xi8>, %start: tensor<1x7x16xi32>) -> tensor<1x7x16xi32> {
  %y = linalg.generic {dlas.primitive = "direct", indexing_maps = [affine_map<(n, h, k, fh, c) -> (n, h + fh, c floordiv 4, c mod 4)>, affine_map<(n, h, k, fh, c) -> (fh, c, k)>, affine_map<(n, h, k, fh, c) -> (n, h, k)>], iterator_types = ["parallel", "parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<1x9x2x4xi8>, tensor<3x8x16xi8>) outs(%start : tensor<1x7x16xi32>) {
  ^bb0(%a: i8, %b: i8, %acc: i32):
    %0 = arith.extui %a : i8 to i32
    %1 = arith.extsi %b : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %acc, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<1x7x16xi32>
  return %y : tensor<1x7x16xi32>
}
}

// -----

// A window of an image: the filler column is added to its padding.
// CHECK-LABEL: func.func @columns
// CHECK: tensor.pad %arg0 low[0, 1] high[0, 2]
// CHECK: tensor<3x12xbf16>
// Loops without names get none.
// CHECK: linalg.generic {{.*}}attrs = {dlas.dot = "vdpbf16ps", dlas.dot_filler = 1 : i64, dlas.primitive = "direct"}
module attributes {dlas.target = {name = "t", kind = "cpu", bf16_dot = "vdpbf16ps"}} {
func.func @columns(%x: tensor<3x9xbf16>, %w: tensor<3x3x16xbf16>, %start: tensor<9x16xf32>) -> tensor<9x16xf32> {
  %zero = arith.constant 0.0 : bf16
  %p = tensor.pad %x low[0, 1] high[0, 1] {
  ^bb0(%i: index, %j: index):
    tensor.yield %zero : bf16
  } : tensor<3x9xbf16> to tensor<3x11xbf16>
  %y = linalg.generic {dlas.primitive = "direct", indexing_maps = [affine_map<(w, k, c, fw) -> (c, w + fw)>, affine_map<(w, k, c, fw) -> (c, fw, k)>, affine_map<(w, k, c, fw) -> (w, k)>], iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%p, %w : tensor<3x11xbf16>, tensor<3x3x16xbf16>) outs(%start : tensor<9x16xf32>) {
  ^bb0(%a: bf16, %b: bf16, %acc: f32):
    %0 = arith.extf %a : bf16 to f32
    %1 = arith.extf %b : bf16 to f32
    %2 = arith.mulf %0, %1 : f32
    %3 = arith.addf %acc, %2 : f32
    linalg.yield %3 : f32
  } -> tensor<9x16xf32>
  return %y : tensor<9x16xf32>
}
}

// -----

// Neither a depthwise convolution nor one with float32 operands, nor any on a target without such an instruction.
// CHECK-LABEL: func.func @depthwise
// CHECK-NOT: dlas.dot
module attributes {dlas.target = {name = "t", kind = "cpu", int8_dot = "vpdpbusd"}} {
func.func @depthwise(%x: tensor<9x16xi8>, %w: tensor<3x16xi8>, %start: tensor<7x16xi32>) -> tensor<7x16xi32> {
  %y = linalg.generic {dlas.primitive = "depthwise", indexing_maps = [affine_map<(h, k, fh) -> (h + fh, k)>, affine_map<(h, k, fh) -> (fh, k)>, affine_map<(h, k, fh) -> (h, k)>], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<9x16xi8>, tensor<3x16xi8>) outs(%start : tensor<7x16xi32>) {
  ^bb0(%a: i8, %b: i8, %acc: i32):
    %0 = arith.extui %a : i8 to i32
    %1 = arith.extsi %b : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %acc, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<7x16xi32>
  return %y : tensor<7x16xi32>
}
}

// -----

// What constants alone decide is computed while iree-compile runs, wherever that is: without the target's instructions.
// CHECK-LABEL: func.func @of_constants
// CHECK-NOT: dlas.dot
// CHECK-LABEL: func.func @of_an_argument
// CHECK: dlas.dot = "vpdpbusd"
#rows = affine_map<(h, k, c) -> (h, c)>
#columns = affine_map<(h, k, c) -> (c, k)>
#out = affine_map<(h, k, c) -> (h, k)>
module attributes {dlas.target = {name = "t", kind = "cpu", int8_dot = "vpdpbusd"}} {
func.func @of_constants() -> tensor<9x16xi32> {
  %codes = arith.constant dense<3> : tensor<9x8xi8>
  %w = arith.constant dense<2> : tensor<8x16xi8>
  %e = tensor.empty() : tensor<9x8xi8>
  %x = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%codes : tensor<9x8xi8>) outs(%e : tensor<9x8xi8>) {
  ^bb0(%a: i8, %o: i8):
    %0 = arith.addi %a, %a : i8
    linalg.yield %0 : i8
  } -> tensor<9x8xi8>
  %start = arith.constant dense<0> : tensor<9x16xi32>
  %y = linalg.generic {dlas.primitive = "gemm", indexing_maps = [#rows, #columns, #out], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<9x8xi8>, tensor<8x16xi8>) outs(%start : tensor<9x16xi32>) {
  ^bb0(%a: i8, %b: i8, %acc: i32):
    %0 = arith.extui %a : i8 to i32
    %1 = arith.extsi %b : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %acc, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<9x16xi32>
  return %y : tensor<9x16xi32>
}
func.func @of_an_argument(%x: tensor<9x8xi8>) -> tensor<9x16xi32> {
  %w = arith.constant dense<2> : tensor<8x16xi8>
  %start = arith.constant dense<0> : tensor<9x16xi32>
  %y = linalg.generic {dlas.primitive = "gemm", indexing_maps = [#rows, #columns, #out], iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<9x8xi8>, tensor<8x16xi8>) outs(%start : tensor<9x16xi32>) {
  ^bb0(%a: i8, %b: i8, %acc: i32):
    %0 = arith.extui %a : i8 to i32
    %1 = arith.extsi %b : i8 to i32
    %2 = arith.muli %0, %1 : i32
    %3 = arith.addi %acc, %2 : i32
    linalg.yield %3 : i32
  } -> tensor<9x16xi32>
  return %y : tensor<9x16xi32>
}
}
