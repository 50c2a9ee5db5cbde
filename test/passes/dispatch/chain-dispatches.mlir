// RUN: %dlas_opt %s --dlas-chain-dispatches --mlir-print-local-scope | FileCheck %s
// RUN: %dlas_opt %s --dlas-chain-dispatches --dlas-attach-schedules --dlas-lower-dispatches --canonicalize --cse --mlir-print-local-scope | FileCheck %s --check-prefix=KERNEL
// RUN: not %dlas_opt %s --dlas-chain-dispatches=most=1 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: sed 's/launch_cycles = 100000 : i64/launch_cycles = 0 : i64, start_cycles = 0 : i64, copy_cycles = 100000 : i64/' %s > %t.free.mlir
// RUN: %dlas_opt %t.free.mlir --dlas-chain-dispatches | FileCheck %s --check-prefix=FREE
// RUN: sed 's/kind = "gpu", cost = {launch_cycles = 100000 : i64}/kind = "cpu"/' %s > %t.cpu.mlir
// RUN: %dlas_opt %t.cpu.mlir --dlas-chain-dispatches | FileCheck %s --check-prefix=FREE

// NAME: error: `dlas-chain-dispatches` has no option `most`; it has none
// FREE-NOT: dlas.chain

#row = affine_map<(n, c) -> (n, c)>
#mean = affine_map<(n, c) -> (n, 0)>
#channels = affine_map<(n, c) -> (c)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", cost = {launch_cycles = 100000 : i64}}} {

// The sum of a row, and the row less its sum: a workgroup does one row, all of its threads the sum.
// CHECK-LABEL: func.func @rows
// CHECK: dlas.chain = {chain = 0 : i64, shared = 1 : i64}, {{.*}} dlas.schedule = {across = {c = 4 : i64}, {{.*}} threads = 32 : i64
// CHECK: dlas.chain = {chain = 0 : i64, shared = 1 : i64}, {{.*}} dlas.schedule = {kind = "simt", lanes = 4 : i64, {{.*}} threads = 32 : i64

// The first kernel keeps its result in memory that the workgroup shares; the second reads it there.
// KERNEL-LABEL: func.func @rows
// KERNEL: flow.dispatch.workgroups(%arg0) : (tensor<5x64xf32>) -> tensor<5x64xf32>
// KERNEL: %[[ROW:.*]] = flow.dispatch.workgroup.id[0]
// KERNEL: %[[KEPT:.*]] = bufferization.alloc_tensor() <{memory_space = #gpu.address_space<workgroup>}> : tensor<1x1xf32>
// KERNEL: tensor.extract %{{.*}}[%[[ROW]], %{{.*}}] : tensor<5x64xf32>
// KERNEL: %[[WRITTEN:.*]] = tensor.insert %{{.*}} into %[[KEPT]][%c0, %c0]
// KERNEL: %[[SUM:.*]] = iree_gpu.value_barrier %[[WRITTEN]] : tensor<1x1xf32>
// KERNEL: tensor.extract %[[SUM]][%c0, %c0]
// KERNEL: arith.subf
// KERNEL: iree_tensor_ext.dispatch.tensor.store {{.*}} offsets = [%[[ROW]],
// KERNEL: count() -> (index, index, index) {
// KERNEL: flow.return %c5, %c1, %c1
// KERNEL-NOT: flow.dispatch.workgroups(
// KERNEL: return
func.func @rows(%x: tensor<5x64xf32>) -> tensor<5x64xf32> {
  %zero = arith.constant 0.0 : f32
  %mean = flow.dispatch.region -> (tensor<5x1xf32>) {
    %e = tensor.empty() : tensor<5x1xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<5x1xf32>) -> tensor<5x1xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<5x64xf32>) outs(%start : tensor<5x1xf32>) attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %o: f32):
      %a = arith.addf %o, %p : f32
      linalg.yield %a : f32
    } -> tensor<5x1xf32>
    flow.return %1 : tensor<5x1xf32>
  }
  %y = flow.dispatch.region -> (tensor<5x64xf32>) {
    %e = tensor.empty() : tensor<5x64xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %mean : tensor<5x64xf32>, tensor<5x1xf32>) outs(%e : tensor<5x64xf32>) attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %s: f32, %o: f32):
      %a = arith.subf %p, %s : f32
      linalg.yield %a : f32
    } -> tensor<5x64xf32>
    flow.return %1 : tensor<5x64xf32>
  }
  return %y : tensor<5x64xf32>
}

// A sum that is a result, too, is a kernel of its own.
// CHECK-LABEL: func.func @read_elsewhere
// CHECK-NOT: dlas.chain
// CHECK: return
func.func @read_elsewhere(%x: tensor<5x64xf32>) -> (tensor<5x1xf32>, tensor<5x64xf32>) {
  %zero = arith.constant 0.0 : f32
  %mean = flow.dispatch.region -> (tensor<5x1xf32>) {
    %e = tensor.empty() : tensor<5x1xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<5x1xf32>) -> tensor<5x1xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<5x64xf32>) outs(%start : tensor<5x1xf32>) attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %o: f32):
      %a = arith.addf %o, %p : f32
      linalg.yield %a : f32
    } -> tensor<5x1xf32>
    flow.return %1 : tensor<5x1xf32>
  }
  %y = flow.dispatch.region -> (tensor<5x64xf32>) {
    %e = tensor.empty() : tensor<5x64xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %mean : tensor<5x64xf32>, tensor<5x1xf32>) outs(%e : tensor<5x64xf32>) attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %s: f32, %o: f32):
      %a = arith.subf %p, %s : f32
      linalg.yield %a : f32
    } -> tensor<5x64xf32>
    flow.return %1 : tensor<5x64xf32>
  }
  return %mean, %y : tensor<5x1xf32>, tensor<5x64xf32>
}

// Two sums that the same kernel reads: it is in one launch with the first of them, the second is a kernel of its own.
// CHECK-LABEL: func.func @two_sums
// CHECK: ins(%arg0 : {{.*}}dlas.chain = {chain = 1 : i64, shared = 1 : i64}
// CHECK-NOT: dlas.chain
// CHECK: ins(%arg1 : {{.*}} attrs =  {dlas.loops = ["n", "c"]} {
// CHECK: ins(%arg0, {{.*}}dlas.chain = {chain = 1 : i64, shared = 1 : i64}
// CHECK-NOT: dlas.chain
// CHECK: return
func.func @two_sums(%x: tensor<5x64xf32>, %z: tensor<5x64xf32>) -> tensor<5x64xf32> {
  %zero = arith.constant 0.0 : f32
  %a = flow.dispatch.region -> (tensor<5x1xf32>) {
    %e = tensor.empty() : tensor<5x1xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<5x1xf32>) -> tensor<5x1xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean], iterator_types = ["parallel", "reduction"]}
      ins(%x : tensor<5x64xf32>) outs(%start : tensor<5x1xf32>) attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<5x1xf32>
    flow.return %1 : tensor<5x1xf32>
  }
  %b = flow.dispatch.region -> (tensor<5x1xf32>) {
    %e = tensor.empty() : tensor<5x1xf32>
    %start = linalg.fill ins(%zero : f32) outs(%e : tensor<5x1xf32>) -> tensor<5x1xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean], iterator_types = ["parallel", "reduction"]}
      ins(%z : tensor<5x64xf32>) outs(%start : tensor<5x1xf32>) attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %o: f32):
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<5x1xf32>
    flow.return %1 : tensor<5x1xf32>
  }
  %y = flow.dispatch.region -> (tensor<5x64xf32>) {
    %e = tensor.empty() : tensor<5x64xf32>
    %1 = linalg.generic {indexing_maps = [#row, #mean, #mean, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %a, %b : tensor<5x64xf32>, tensor<5x1xf32>, tensor<5x1xf32>) outs(%e : tensor<5x64xf32>)
      attrs = {dlas.loops = ["n", "c"]} {
    ^bb0(%p: f32, %s: f32, %t: f32, %o: f32):
      %u = arith.subf %p, %s : f32
      %v = arith.mulf %u, %t : f32
      linalg.yield %v : f32
    } -> tensor<5x64xf32>
    flow.return %1 : tensor<5x64xf32>
  }
  return %y : tensor<5x64xf32>
}
}
