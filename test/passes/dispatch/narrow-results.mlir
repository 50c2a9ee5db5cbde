// RUN: %dlas_opt %s --dlas-narrow-results --mlir-print-local-scope | FileCheck %s
// RUN: %dlas_opt %s --dlas-narrow-results=element=bf16 --mlir-print-local-scope | FileCheck %s --check-prefix=BF16
// RUN: not %dlas_opt %s --dlas-narrow-results=element=f32 2>&1 | FileCheck %s --check-prefix=OPTION

// OPTION: error: `element`: expected f16 or bf16, found `f32`

#id = affine_map<(d0) -> (d0)>
#all = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0, 0)>

// The first region rounds its sum already: one result is left. The second one rounds it for the third, which extends it.
// What the function returns stays.
// CHECK-LABEL: func.func @residual
// CHECK: %[[A:.*]] = flow.dispatch.region -> (tensor<16xf16>)
// CHECK: arith.negf
// CHECK: %[[R:.*]] = linalg.generic
// CHECK: arith.truncf
// CHECK: flow.return %[[R]] : tensor<16xf16>
// CHECK: %[[B:.*]] = flow.dispatch.region -> (tensor<16xf16>)
// CHECK: linalg.generic {{.*}} ins(%[[A]] : tensor<16xf16>)
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK: flow.return
// CHECK: %[[C:.*]] = flow.dispatch.region -> (tensor<16xf32>)
// CHECK: linalg.generic {{.*}} ins(%[[A]], %[[B]] : tensor<16xf16>, tensor<16xf16>)
// CHECK-DAG: arith.extf
// CHECK-DAG: arith.extf
// CHECK: arith.addf
// CHECK: return %[[C]]

// In another type there is nothing to share.
// BF16-LABEL: func.func @residual
// BF16: flow.dispatch.region -> (tensor<16xbf16>, tensor<16xf16>)
func.func @residual(%x: tensor<16xf32>) -> tensor<16xf32> {
  %e = tensor.empty() : tensor<16xf32>
  %h = tensor.empty() : tensor<16xf16>
  %1:2 = flow.dispatch.region -> (tensor<16xf32>, tensor<16xf16>) {
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%a : tensor<16xf32>) outs(%h : tensor<16xf16>) {
    ^bb0(%p: f32, %o: f16):
      %n = arith.truncf %p : f32 to f16
      linalg.yield %n : f16
    } -> tensor<16xf16>
    flow.return %a, %b : tensor<16xf32>, tensor<16xf16>
  }
  %2 = flow.dispatch.region -> (tensor<16xf32>) {
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%1#1 : tensor<16xf16>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f16, %o: f32):
      %w = arith.extf %p : f16 to f32
      linalg.yield %w : f32
    } -> tensor<16xf32>
    flow.return %a : tensor<16xf32>
  }
  %3 = flow.dispatch.region -> (tensor<16xf32>) {
    %a = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]} ins(%1#0, %2 : tensor<16xf32>, tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %s = arith.addf %p, %q : f32
      linalg.yield %s : f32
    } -> tensor<16xf32>
    flow.return %a : tensor<16xf32>
  }
  return %3 : tensor<16xf32>
}

// What is filled up is an argument: it stays as it is, though only a region reads it.
// CHECK-LABEL: func.func @parts
// CHECK: flow.dispatch.region -> (tensor<32xf32>)
// CHECK: tensor.insert_slice
// CHECK-NOT: arith.truncf
// CHECK: flow.return
func.func @parts(%x: tensor<16xf32>, %b: tensor<32xf32>) -> tensor<32xf32> {
  %e = tensor.empty() : tensor<16xf32>
  %e2 = tensor.empty() : tensor<32xf32>
  %1 = flow.dispatch.region -> (tensor<32xf32>) {
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %b[16] [16] [1] : tensor<16xf32> into tensor<32xf32>
    flow.return %i : tensor<32xf32>
  }
  %2 = flow.dispatch.region -> (tensor<32xf32>) {
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%1 : tensor<32xf32>) outs(%e2 : tensor<32xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<32xf32>
    flow.return %a : tensor<32xf32>
  }
  return %2 : tensor<32xf32>
}

// Of a norm of rows, what the mean is subtracted from is rounded, as what another kernel reads element by element; the
// squares, which are only summed up, and the sums, of which each is read for a whole row, are not.
// CHECK-LABEL: func.func @norm
// CHECK: %[[MEAN:.*]] = flow.dispatch.region -> (tensor<4x1xf32>)
// CHECK: %[[APART:.*]]:2 = flow.dispatch.region -> (tensor<4x16xf16>, tensor<4x16xf32>)
// CHECK: %[[SUM:.*]] = flow.dispatch.region -> (tensor<4x1xf32>)
// CHECK: ins(%[[APART]]#1 : tensor<4x16xf32>)
// CHECK: ins(%[[APART]]#0, %[[SUM]] : tensor<4x16xf16>, tensor<4x1xf32>)
func.func @norm(%x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x16xf32>
  %e1 = tensor.empty() : tensor<4x1xf32>
  %start = linalg.fill ins(%zero : f32) outs(%e1 : tensor<4x1xf32>) -> tensor<4x1xf32>
  %1 = flow.dispatch.region -> (tensor<4x1xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<4x16xf32>) outs(%start : tensor<4x1xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<4x1xf32>
    flow.return %a : tensor<4x1xf32>
  }
  %2:2 = flow.dispatch.region -> (tensor<4x16xf32>, tensor<4x16xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel"]} ins(%x, %1 : tensor<4x16xf32>, tensor<4x1xf32>) outs(%e : tensor<4x16xf32>) {
    ^bb0(%p: f32, %m: f32, %o: f32):
      %s = arith.subf %p, %m : f32
      linalg.yield %s : f32
    } -> tensor<4x16xf32>
    %b = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%a : tensor<4x16xf32>) outs(%e : tensor<4x16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.mulf %p, %p : f32
      linalg.yield %s : f32
    } -> tensor<4x16xf32>
    flow.return %a, %b : tensor<4x16xf32>, tensor<4x16xf32>
  }
  %3 = flow.dispatch.region -> (tensor<4x1xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "reduction"]} ins(%2#1 : tensor<4x16xf32>) outs(%start : tensor<4x1xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<4x1xf32>
    flow.return %a : tensor<4x1xf32>
  }
  %4 = flow.dispatch.region -> (tensor<4x16xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel"]} ins(%2#0, %3 : tensor<4x16xf32>, tensor<4x1xf32>) outs(%e : tensor<4x16xf32>) {
    ^bb0(%p: f32, %m: f32, %o: f32):
      %s = arith.mulf %p, %m : f32
      linalg.yield %s : f32
    } -> tensor<4x16xf32>
    flow.return %a : tensor<4x16xf32>
  }
  return %4 : tensor<4x16xf32>
}

// A maximum is that of the rounded elements.
// CHECK-LABEL: func.func @maximum
// CHECK: flow.dispatch.region -> (tensor<4x16xf16>)
func.func @maximum(%x: tensor<4x16xf32>) -> tensor<4x1xf32> {
  %least = arith.constant 0xFF800000 : f32
  %e = tensor.empty() : tensor<4x16xf32>
  %e1 = tensor.empty() : tensor<4x1xf32>
  %start = linalg.fill ins(%least : f32) outs(%e1 : tensor<4x1xf32>) -> tensor<4x1xf32>
  %1 = flow.dispatch.region -> (tensor<4x16xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x16xf32>) outs(%e : tensor<4x16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<4x16xf32>
    flow.return %a : tensor<4x16xf32>
  }
  %2 = flow.dispatch.region -> (tensor<4x1xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #row], iterator_types = ["parallel", "reduction"]} ins(%1 : tensor<4x16xf32>) outs(%start : tensor<4x1xf32>) {
    ^bb0(%p: f32, %o: f32):
      %m = arith.maximumf %o, %p : f32
      linalg.yield %m : f32
    } -> tensor<4x1xf32>
    flow.return %a : tensor<4x1xf32>
  }
  return %2 : tensor<4x1xf32>
}

// What is read for whole rows, but is no sum, is rounded: a gate.
// CHECK-LABEL: func.func @gate
// CHECK: flow.dispatch.region -> (tensor<4x1xf16>)
func.func @gate(%g: tensor<4x1xf32>, %x: tensor<4x16xf32>) -> tensor<4x16xf32> {
  %e = tensor.empty() : tensor<4x16xf32>
  %e1 = tensor.empty() : tensor<4x1xf32>
  %1 = flow.dispatch.region -> (tensor<4x1xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]} ins(%g : tensor<4x1xf32>) outs(%e1 : tensor<4x1xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<4x1xf32>
    flow.return %a : tensor<4x1xf32>
  }
  %2 = flow.dispatch.region -> (tensor<4x16xf32>) {
    %a = linalg.generic {indexing_maps = [#all, #row, #all], iterator_types = ["parallel", "parallel"]} ins(%x, %1 : tensor<4x16xf32>, tensor<4x1xf32>) outs(%e : tensor<4x16xf32>) {
    ^bb0(%p: f32, %m: f32, %o: f32):
      %s = arith.mulf %p, %m : f32
      linalg.yield %s : f32
    } -> tensor<4x16xf32>
    flow.return %a : tensor<4x16xf32>
  }
  return %2 : tensor<4x16xf32>
}

// So is one with padding around them, which is the same number in 16 bits. Another number keeps it as it is.
// CHECK-LABEL: func.func @padded
// CHECK: %[[A:.*]]:2 = flow.dispatch.region -> (tensor<16xf16>, tensor<16xf32>)
// CHECK: %[[LOWEST:.*]] = arith.constant 0xFC00 : f16
// CHECK: %[[P:.*]] = tensor.pad %[[A]]#0 low[1] high[1]
// CHECK: tensor.yield %[[LOWEST]] : f16
// CHECK: linalg.generic {{.*}} ins(%[[P]], %{{.*}} : tensor<18xf16>, tensor<3xf32>)
// CHECK: arith.extf
// CHECK: %[[Q:.*]] = tensor.pad %[[A]]#1
// CHECK: ins(%[[Q]], %{{.*}} : tensor<18xf32>, tensor<3xf32>)
#window = affine_map<(d0, d1) -> (d0 + d1)>
#tap = affine_map<(d0, d1) -> (d1)>
#result = affine_map<(d0, d1) -> (d0)>
func.func @padded(%x: tensor<16xf32>) -> (tensor<16xf32>, tensor<16xf32>) {
  %lowest = arith.constant 0xFF800000 : f32
  %tenth = arith.constant 0.1 : f32
  %e = tensor.empty() : tensor<16xf32>
  %e3 = tensor.empty() : tensor<3xf32>
  %start = linalg.fill ins(%lowest : f32) outs(%e : tensor<16xf32>) -> tensor<16xf32>
  %1:2 = flow.dispatch.region -> (tensor<16xf32>, tensor<16xf32>) {
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %b = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%a : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.addf %p, %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    flow.return %a, %b : tensor<16xf32>, tensor<16xf32>
  }
  %2 = flow.dispatch.region -> (tensor<16xf32>) {
    %padded = tensor.pad %1#0 low[1] high[1] {
    ^bb0(%i: index):
      tensor.yield %lowest : f32
    } : tensor<16xf32> to tensor<18xf32>
    %a = linalg.generic {indexing_maps = [#window, #tap, #result], iterator_types = ["parallel", "reduction"]} ins(%padded, %e3 : tensor<18xf32>, tensor<3xf32>) outs(%start : tensor<16xf32>) {
    ^bb0(%p: f32, %t: f32, %o: f32):
      %m = arith.maximumf %o, %p : f32
      linalg.yield %m : f32
    } -> tensor<16xf32>
    flow.return %a : tensor<16xf32>
  }
  %3 = flow.dispatch.region -> (tensor<16xf32>) {
    %padded = tensor.pad %1#1 low[1] high[1] {
    ^bb0(%i: index):
      tensor.yield %tenth : f32
    } : tensor<16xf32> to tensor<18xf32>
    %a = linalg.generic {indexing_maps = [#window, #tap, #result], iterator_types = ["parallel", "reduction"]} ins(%padded, %e3 : tensor<18xf32>, tensor<3xf32>) outs(%start : tensor<16xf32>) {
    ^bb0(%p: f32, %t: f32, %o: f32):
      %m = arith.maximumf %o, %p : f32
      linalg.yield %m : f32
    } -> tensor<16xf32>
    flow.return %a : tensor<16xf32>
  }
  return %2, %3 : tensor<16xf32>, tensor<16xf32>
}

// Two regions fill up one buffer, of which a third reads a part, and a fourth all: it is one of 16 bits.
// CHECK-LABEL: func.func @concatenation
// CHECK: %[[A:.*]] = flow.dispatch.region -> (tensor<32xf16>)
// CHECK: %[[E:.*]] = tensor.empty() : tensor<32xf16>
// CHECK: tensor.insert_slice %{{.*}} into %[[E]][0] [16] [1] : tensor<16xf16> into tensor<32xf16>
// CHECK: %[[B:.*]] = flow.dispatch.region -> (tensor<32xf16>)
// CHECK: %[[PART:.*]] = tensor.extract_slice %[[A]][0] [16] [1] : tensor<32xf16> to tensor<16xf16>
// CHECK: linalg.generic {{.*}} ins(%[[PART]] : tensor<16xf16>)
// CHECK: arith.truncf
// CHECK: tensor.insert_slice %{{.*}} into %[[A]][16] [16] [1] : tensor<16xf16> into tensor<32xf16>
// CHECK: linalg.generic {{.*}} ins(%[[B]] : tensor<32xf16>)

func.func @concatenation(%x: tensor<16xf32>) -> tensor<32xf32> {
  %1 = flow.dispatch.region -> (tensor<32xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %b = tensor.empty() : tensor<32xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %b[0] [16] [1] : tensor<16xf32> into tensor<32xf32>
    flow.return %i : tensor<32xf32>
  }
  %2 = flow.dispatch.region -> (tensor<32xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %s = tensor.extract_slice %1[0] [16] [1] : tensor<32xf32> to tensor<16xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%s : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.addf %p, %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %1[16] [16] [1] : tensor<16xf32> into tensor<32xf32>
    flow.return %i : tensor<32xf32>
  }
  %3 = flow.dispatch.region -> (tensor<32xf32>) {
    %e = tensor.empty() : tensor<32xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%2 : tensor<32xf32>) outs(%e : tensor<32xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<32xf32>
    flow.return %a : tensor<32xf32>
  }
  return %3 : tensor<32xf32>
}

// The function returns the other one.
// CHECK-LABEL: func.func @returned_concatenation
// CHECK-NOT: xf16
func.func @returned_concatenation(%x: tensor<16xf32>) -> (tensor<32xf32>, tensor<32xf32>) {
  %1 = flow.dispatch.region -> (tensor<32xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %b = tensor.empty() : tensor<32xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %b[0] [16] [1] : tensor<16xf32> into tensor<32xf32>
    flow.return %i : tensor<32xf32>
  }
  %2 = flow.dispatch.region -> (tensor<32xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %s = tensor.extract_slice %1[0] [16] [1] : tensor<32xf32> to tensor<16xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%s : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.addf %p, %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %1[16] [16] [1] : tensor<16xf32> into tensor<32xf32>
    flow.return %i : tensor<32xf32>
  }
  %3 = flow.dispatch.region -> (tensor<32xf32>) {
    %e = tensor.empty() : tensor<32xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%2 : tensor<32xf32>) outs(%e : tensor<32xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<32xf32>
    flow.return %a : tensor<32xf32>
  }
  return %3, %2 : tensor<32xf32>, tensor<32xf32>
}

// A region inserts twice into what another one fills: it stays as it is.
// CHECK-LABEL: func.func @two_parts_at_once
// CHECK: flow.dispatch.region -> (tensor<48xf32>)
// CHECK: flow.dispatch.region -> (tensor<48xf32>)
// CHECK: return
func.func @two_parts_at_once(%x: tensor<16xf32>) -> tensor<48xf32> {
  %1 = flow.dispatch.region -> (tensor<48xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %b = tensor.empty() : tensor<48xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %b[0] [16] [1] : tensor<16xf32> into tensor<48xf32>
    flow.return %i : tensor<48xf32>
  }
  %2 = flow.dispatch.region -> (tensor<48xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.addf %p, %p : f32
      linalg.yield %n : f32
    } -> tensor<16xf32>
    %i = tensor.insert_slice %a into %1[16] [16] [1] : tensor<16xf32> into tensor<48xf32>
    %j = tensor.insert_slice %a into %i[32] [16] [1] : tensor<16xf32> into tensor<48xf32>
    flow.return %j : tensor<48xf32>
  }
  %3 = flow.dispatch.region -> (tensor<48xf32>) {
    %e = tensor.empty() : tensor<48xf32>
    %a = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%2 : tensor<48xf32>) outs(%e : tensor<48xf32>) {
    ^bb0(%p: f32, %o: f32):
      %n = arith.negf %p : f32
      linalg.yield %n : f32
    } -> tensor<48xf32>
    flow.return %a : tensor<48xf32>
  }
  return %3 : tensor<48xf32>
}
