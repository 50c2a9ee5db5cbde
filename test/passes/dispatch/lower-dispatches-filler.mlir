// RUN: %dlas_opt %s --dlas-lower-dispatches --canonicalize --cse | FileCheck %s

// The second of two steps sums columns 2 and 3 of a window of three columns: of the last, which may be infinite, zeros
// are multiplied. Two elements of 16 bits are one of 32, the first in its low half.
// CHECK-LABEL: func.func @filler
// CHECK-DAG: %[[LOW:.*]] = arith.constant dense<65535> : vector<16xi32>
// CHECK: scf.for
// CHECK-NOT: arith.andi
// CHECK: %[[SUM:.*]] = llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"
// CHECK: %[[DATA:.*]] = vector.broadcast %{{.*}} : i32 to vector<16xi32>
// CHECK: %[[MASKED:.*]] = arith.andi %[[DATA]], %[[LOW]] : vector<16xi32>
// CHECK-NOT: arith.andi
// CHECK: %[[BITS:.*]] = vector.bitcast %[[MASKED]] : vector<16xi32> to vector<32xbf16>
// CHECK: llvm.call_intrinsic "llvm.x86.avx512bf16.dpbf16ps.512"(%[[SUM]], %[[BITS]], %{{.*}})
func.func @filler(%x: tensor<3x12xbf16>, %w: tensor<3x2x16x2xbf16>, %start: tensor<9x16xf32>) -> tensor<9x16xf32> {
  %y = flow.dispatch.region -> (tensor<9x16xf32>) {
    %1 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2, d3, d4) -> (d2, d0 + d3 * 2 + d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d2, d3, d1, d4)>, affine_map<(d0, d1, d2, d3, d4) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction", "reduction", "reduction"]}
      ins(%x, %w : tensor<3x12xbf16>, tensor<3x2x16x2xbf16>) outs(%start : tensor<9x16xf32>)
      attrs = {dlas.dot = "vdpbf16ps", dlas.dot_filler = 1 : i64, dlas.schedule = {kind = "cpu", tile = {d1 = 16}, order = ["d0", "d1", "d2", "d3", "d4"], vector = "d1", lanes = 16}} {
    ^bb0(%a: bf16, %b: bf16, %acc: f32):
      %p = arith.extf %a : bf16 to f32
      %q = arith.extf %b : bf16 to f32
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %acc, %m : f32
      linalg.yield %s : f32
    } -> tensor<9x16xf32>
    flow.return %1 : tensor<9x16xf32>
  }
  return %y : tensor<9x16xf32>
}
