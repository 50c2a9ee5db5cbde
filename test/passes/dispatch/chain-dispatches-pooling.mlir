// RUN: %dlas_opt %s --dlas-chain-dispatches --mlir-print-local-scope | FileCheck %s
// RUN: %dlas_opt %s --dlas-chain-dispatches --dlas-attach-schedules --dlas-lower-dispatches --mlir-print-local-scope | FileCheck %s --check-prefix=KERNEL
// RUN: sed 's/launch_cycles = 100000 : i64/launch_cycles = 0 : i64, start_cycles = 0 : i64, shared_bytes_per_cycle = 1 : i64/' %s > %t.dear.mlir
// RUN: %dlas_opt %t.dear.mlir --dlas-chain-dispatches | FileCheck %s --check-prefix=DEAR

// Where launches cost nothing, and shared memory is slow, they stay apart.
// DEAR-NOT: dlas.chain

#image = affine_map<(n, kb, oh, ow, k, c) -> (n, kb, oh, ow, c)>
#weights = affine_map<(n, kb, oh, ow, k, c) -> (k, c)>
#product = affine_map<(n, kb, oh, ow, k, c) -> (n, kb, oh, ow, k)>
#all = affine_map<(n, kb, h, w, k) -> (n, kb, h, w, k)>
#mean = affine_map<(n, kb, h, w, k) -> (n, kb, 0, 0, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k16.f16.f32"], shared_bytes = 65536 : i64,
  unit_shared_bytes = 65536 : i64, registers = 255 : i64, unit_registers = 65536 : i64, workgroup_threads = 1024 : i64, unit_threads = 1024 : i64,
  elements = ["f16", "f32"], cost = {launch_cycles = 100000 : i64}}} {

// A product, and the mean of each image: a workgroup has the 49 pixels of one.
// CHECK-LABEL: func.func @mean
// CHECK: dlas.chain = {chain = 0 : i64}, {{.*}} dlas.schedule = {halo = false, {{.*}} tile = {columns = 32 : i64, rows = 64 : i64}
// CHECK: dlas.chain = {chain = 0 : i64}, {{.*}} dlas.schedule = {kind = "pooled", tile = {}}

// KERNEL: hal.executable.source private @product_98x32x64_f16_{{.*}}_pooled_
// KERNEL-LABEL: func.func @mean
// KERNEL: %[[Y:.*]] = flow.dispatch @product_98x32x64_f16_{{.*}}_pooled_{{.*}}(%arg0, %arg1) {{.*}} : (tensor<2x1x7x7x64xf16>, tensor<32x64xf16>) -> tensor<2x1x1x1x32xf32>
// KERNEL-NEXT: return %[[Y]]
func.func @mean(%image: tensor<2x1x7x7x64xf16>, %weights: tensor<32x64xf16>) -> tensor<2x1x1x1x32xf32> {
  %zero = arith.constant 0.0 : f32
  %count = arith.constant 49.0 : f32
  %x = flow.dispatch.region -> (tensor<2x1x7x7x32xf32>) {
    %e = tensor.empty() : tensor<2x1x7x7x32xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<2x1x7x7x32xf32>) -> tensor<2x1x7x7x32xf32>
    %1 = linalg.generic {indexing_maps = [#image, #weights, #product],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%image, %weights : tensor<2x1x7x7x64xf16>, tensor<32x64xf16>) outs(%start : tensor<2x1x7x7x32xf32>)
      attrs = {dlas.loops = ["n", "kb", "oh", "ow", "k", "c"]} {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %a = arith.extf %p : f16 to f32
      %b = arith.extf %q : f16 to f32
      %m = arith.mulf %a, %b : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<2x1x7x7x32xf32>
    flow.return %1 : tensor<2x1x7x7x32xf32>
  }
  %y = flow.dispatch.region -> (tensor<2x1x1x1x32xf32>) {
    %e = tensor.empty() : tensor<2x1x1x1x32xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<2x1x1x1x32xf32>) -> tensor<2x1x1x1x32xf32>
    %1 = linalg.generic {indexing_maps = [#all, #mean],
        iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel"]}
      ins(%x : tensor<2x1x7x7x32xf32>) outs(%start : tensor<2x1x1x1x32xf32>)
      attrs = {dlas.loops = ["n", "kb", "h", "w", "k"]} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<2x1x1x1x32xf32>
    %2 = linalg.generic {indexing_maps = [#all, #all],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}
      ins(%1 : tensor<2x1x1x1x32xf32>) outs(%e : tensor<2x1x1x1x32xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.divf %p, %count : f32
      linalg.yield %s : f32
    } -> tensor<2x1x1x1x32xf32>
    flow.return %2 : tensor<2x1x1x1x32xf32>
  }
  return %y : tensor<2x1x1x1x32xf32>
}

// The product is returned as well: it is a kernel of its own.
// CHECK-LABEL: func.func @returned
// CHECK-NOT: dlas.chain
func.func @returned(%image: tensor<2x1x7x7x64xf16>, %weights: tensor<32x64xf16>) -> (tensor<2x1x1x1x32xf32>, tensor<2x1x7x7x32xf32>) {
  %zero = arith.constant 0.0 : f32
  %count = arith.constant 49.0 : f32
  %x = flow.dispatch.region -> (tensor<2x1x7x7x32xf32>) {
    %e = tensor.empty() : tensor<2x1x7x7x32xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<2x1x7x7x32xf32>) -> tensor<2x1x7x7x32xf32>
    %1 = linalg.generic {indexing_maps = [#image, #weights, #product],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%image, %weights : tensor<2x1x7x7x64xf16>, tensor<32x64xf16>) outs(%start : tensor<2x1x7x7x32xf32>)
      attrs = {dlas.loops = ["n", "kb", "oh", "ow", "k", "c"]} {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %a = arith.extf %p : f16 to f32
      %b = arith.extf %q : f16 to f32
      %m = arith.mulf %a, %b : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<2x1x7x7x32xf32>
    flow.return %1 : tensor<2x1x7x7x32xf32>
  }
  %y = flow.dispatch.region -> (tensor<2x1x1x1x32xf32>) {
    %e = tensor.empty() : tensor<2x1x1x1x32xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<2x1x1x1x32xf32>) -> tensor<2x1x1x1x32xf32>
    %1 = linalg.generic {indexing_maps = [#all, #mean],
        iterator_types = ["parallel", "parallel", "reduction", "reduction", "parallel"]}
      ins(%x : tensor<2x1x7x7x32xf32>) outs(%start : tensor<2x1x1x1x32xf32>)
      attrs = {dlas.loops = ["n", "kb", "h", "w", "k"]} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<2x1x1x1x32xf32>
    %2 = linalg.generic {indexing_maps = [#all, #all],
        iterator_types = ["parallel", "parallel", "parallel", "parallel", "parallel"]}
      ins(%1 : tensor<2x1x1x1x32xf32>) outs(%e : tensor<2x1x1x1x32xf32>) {
    ^bb0(%p: f32, %o: f32):
      %s = arith.divf %p, %count : f32
      linalg.yield %s : f32
    } -> tensor<2x1x1x1x32xf32>
    flow.return %2 : tensor<2x1x1x1x32xf32>
  }
  return %y, %x : tensor<2x1x1x1x32xf32>, tensor<2x1x7x7x32xf32>
}
}
