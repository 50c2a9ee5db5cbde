// RUN: %dlas_opt %s --split-input-file --dlas-lower-dispatches --mlir-print-local-scope | FileCheck %s
// RUN: sed 's/split = 2/split = 64/' %s > %t.split.mlir
// RUN: not %dlas_opt %t.split.mlir --split-input-file --dlas-lower-dispatches 2>&1 | FileCheck %s --check-prefix=SPLIT

// SPLIT: error: `dlas.schedule`: split:

// wgmma: four warps take the steps from shared memory as they lie there; what cp.async wrote is fenced for it, and the
// next step is copied while the products of this one are under way.
// CHECK: func.func @product_196x64x576_f16_{{.*}} workgroup_size = [128, 1, 1]
// CHECK-COUNT-8: nvvm.cp.async.shared.global
// CHECK: nvvm.cp.async.wait.group
// CHECK: nvvm.fence.proxy <async.shared>
// CHECK-NEXT: nvvm.barrier
// CHECK: nvvm.wgmma.fence.aligned
// CHECK-COUNT-4: nvvm.wgmma.mma_async {{.*}} <m = 64, n = 64, k = 16>, D[<f32>, <one>], A[<f16>, <one>, <row>], B[<f16>, <one>, <col>]
// CHECK-NOT: nvvm.wgmma.mma_async
// CHECK: nvvm.wgmma.commit.group.sync.aligned
// CHECK: nvvm.cp.async.shared.global
// CHECK: nvvm.wgmma.wait.group.sync.aligned
// CHECK-NOT: nvvm.mapa
// CHECK-LABEL: func.func @four_warps
#image = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh + r, ow + s, c)>
#weights = affine_map<(n, oh, ow, k, r, s, c) -> (k, r, s, c)>
#out = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh, ow, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m64k16.f16.f32"], shared_bytes = 200000 : i64}} {
func.func @four_warps(%x: tensor<1x14x14x64xf16>, %w: tensor<64x3x3x64xf16>) -> tensor<1x14x14x64xf32> {
  %zero = arith.constant 0.0 : f16
  %start = arith.constant 0.0 : f32
  %1 = flow.dispatch.region -> (tensor<1x14x14x64xf32>) {
    %padded = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f16
    } : tensor<1x14x14x64xf16> to tensor<1x16x16x64xf16>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = false, instruction = "m64k16.f16.f32", kind = "gpu", split = 1 : i64, stages = 3 : i64, tile = {columns = 64 : i64, rows = 64 : i64}, warp = {columns = 64 : i64, rows = 64 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf16>, tensor<64x3x3x64xf16>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pw = arith.extf %p : f16 to f32
      %qw = arith.extf %q : f16 to f32
      %m = arith.mulf %pw, %qw : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    flow.return %sum : tensor<1x14x14x64xf32>
  }
  return %1 : tensor<1x14x14x64xf32>
}
}

// -----

// A split sum with wgmma: two workgroups are a cluster, and each adds up what both have in shared memory.
// CHECK: nvvm.cluster_dim = array<i32: 1, 1, 2>
// CHECK: nvvm.wgmma.mma_async
// CHECK: nvvm.cluster.arrive aligned
// CHECK-NEXT: nvvm.cluster.wait aligned
// CHECK: nvvm.mapa {{.*}} : !llvm.ptr<3> -> !llvm.ptr<7>
// CHECK-NEXT: llvm.load {{.*}} : !llvm.ptr<7> -> vector<4xf32>
// CHECK: nvvm.mapa
// CHECK: arith.addf
// None ends while another still reads its sums.
// CHECK: nvvm.cluster.arrive.relaxed
// CHECK-NEXT: nvvm.cluster.wait
// CHECK-LABEL: func.func @cluster
#image = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh + r, ow + s, c)>
#weights = affine_map<(n, oh, ow, k, r, s, c) -> (k, r, s, c)>
#out = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh, ow, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m64k16.f16.f32"], shared_bytes = 200000 : i64}} {
func.func @cluster(%x: tensor<1x14x14x64xf16>, %w: tensor<64x3x3x64xf16>) -> tensor<1x14x14x64xf32> {
  %zero = arith.constant 0.0 : f16
  %start = arith.constant 0.0 : f32
  %1 = flow.dispatch.region -> (tensor<1x14x14x64xf32>) {
    %padded = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f16
    } : tensor<1x14x14x64xf16> to tensor<1x16x16x64xf16>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = false, instruction = "m64k16.f16.f32", kind = "gpu", split = 2 : i64, stages = 3 : i64, tile = {columns = 64 : i64, rows = 64 : i64}, warp = {columns = 64 : i64, rows = 64 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf16>, tensor<64x3x3x64xf16>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pw = arith.extf %p : f16 to f32
      %qw = arith.extf %q : f16 to f32
      %m = arith.mulf %pw, %qw : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    flow.return %sum : tensor<1x14x14x64xf32>
  }
  return %1 : tensor<1x14x14x64xf32>
}
}

// -----

// A halo: the pixels of a tile and those around them are copied once, and the loop over taps is within a step.
// CHECK: func.func @product_
// CHECK-COUNT-10: nvvm.cp.async.shared.global
// CHECK-NOT: nvvm.cp.async.shared.global
// CHECK: nvvm.cp.async.commit.group
// CHECK: nvvm.wgmma.mma_async
// CHECK-NOT: nvvm.mapa
// CHECK-LABEL: func.func @halo
#image = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh + r, ow + s, c)>
#weights = affine_map<(n, oh, ow, k, r, s, c) -> (k, r, s, c)>
#out = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh, ow, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m64k16.f16.f32"], shared_bytes = 200000 : i64}} {
func.func @halo(%x: tensor<1x14x14x64xf16>, %w: tensor<64x3x3x64xf16>) -> tensor<1x14x14x64xf32> {
  %zero = arith.constant 0.0 : f16
  %start = arith.constant 0.0 : f32
  %1 = flow.dispatch.region -> (tensor<1x14x14x64xf32>) {
    %padded = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f16
    } : tensor<1x14x14x64xf16> to tensor<1x16x16x64xf16>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = true, instruction = "m64k16.f16.f32", kind = "gpu", split = 1 : i64, stages = 3 : i64, tile = {columns = 64 : i64, rows = 64 : i64}, warp = {columns = 64 : i64, rows = 64 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf16>, tensor<64x3x3x64xf16>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pw = arith.extf %p : f16 to f32
      %qw = arith.extf %q : f16 to f32
      %m = arith.mulf %pw, %qw : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    flow.return %sum : tensor<1x14x14x64xf32>
  }
  return %1 : tensor<1x14x14x64xf32>
}
}

// -----

// Exact float32: each factor is split into two of tf32, and a product is three of them, the small ones first. Without
// nvvm.minctasm NVIDIA's assembler takes too few registers.
// CHECK: nvvm.minctasm = 1
// CHECK: nvvm.ldmatrix
// CHECK: %[[FIRST:.*]] = nvvm.mma.sync A[%[[LOW:[0-9]+]], {{.*}} B[%[[HIGH:[0-9]+]], {{.*}} shape = <m = 16, n = 8, k = 8>, {{.*}} multiplicand_a_ptx_type = tf32
// CHECK: nvvm.mma.sync A[%[[UPPER:[0-9]+]], {{.*}} shape = <m = 16, n = 8, k = 8>
// CHECK: nvvm.mma.sync A[%[[UPPER]], {{.*}} B[%[[HIGH]], {{.*}} shape = <m = 16, n = 8, k = 8>
// CHECK-LABEL: func.func @three_products
#image = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh + r, ow + s, c)>
#weights = affine_map<(n, oh, ow, k, r, s, c) -> (k, r, s, c)>
#out = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh, ow, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k8.tf32.f32"], shared_bytes = 200000 : i64}} {
func.func @three_products(%x: tensor<1x14x14x64xf32>, %w: tensor<64x3x3x64xf32>) -> tensor<1x14x14x64xf32> {
  %zero = arith.constant 0.0 : f32
  %start = arith.constant 0.0 : f32
  %1 = flow.dispatch.region -> (tensor<1x14x14x64xf32>) {
    %padded = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f32
    } : tensor<1x14x14x64xf32> to tensor<1x16x16x64xf32>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = false, instruction = "m16n8k8.tf32x3.f32", kind = "gpu", split = 1 : i64, stages = 3 : i64, tile = {columns = 64 : i64, rows = 64 : i64}, warp = {columns = 32 : i64, rows = 32 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf32>, tensor<64x3x3x64xf32>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    flow.return %sum : tensor<1x14x14x64xf32>
  }
  return %1 : tensor<1x14x14x64xf32>
}
}

// -----

// A split sum with mma.sync: a second kernel adds up what the workgroups of the first have written.
// CHECK: func.func @[[NAME:product_196x64x576_f16_[0-9a-f]+]]_sums()
// CHECK-NOT: nvvm.mma.sync
// CHECK: func.func @[[NAME]]()
// CHECK: nvvm.mma.sync
// CHECK-LABEL: func.func @two_kernels
// CHECK: %[[PARTS:.*]] = flow.dispatch @{{.*}}::@[[NAME]](%arg0, %arg1)
// CHECK: flow.dispatch @{{.*}}::@[[NAME]]_sums(%[[PARTS]]
#image = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh + r, ow + s, c)>
#weights = affine_map<(n, oh, ow, k, r, s, c) -> (k, r, s, c)>
#out = affine_map<(n, oh, ow, k, r, s, c) -> (n, oh, ow, k)>

module attributes {dlas.target = {name = "gpu", kind = "gpu", matrix_instructions = ["m16n8k16.f16.f32"], shared_bytes = 200000 : i64}} {
func.func @two_kernels(%x: tensor<1x14x14x64xf16>, %w: tensor<64x3x3x64xf16>) -> tensor<1x14x14x64xf32> {
  %zero = arith.constant 0.0 : f16
  %start = arith.constant 0.0 : f32
  %1 = flow.dispatch.region -> (tensor<1x14x14x64xf32>) {
    %padded = tensor.pad %x low[0, 1, 1, 0] high[0, 1, 1, 0] {
    ^bb0(%i0: index, %i1: index, %i2: index, %i3: index):
      tensor.yield %zero : f16
    } : tensor<1x14x14x64xf16> to tensor<1x16x16x64xf16>
    %e = tensor.empty() : tensor<1x14x14x64xf32>
    %f = linalg.fill ins(%start : f32) outs(%e : tensor<1x14x14x64xf32>) -> tensor<1x14x14x64xf32>
    %sum = linalg.generic {indexing_maps = [#image, #weights, #out], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"],
        dlas.loops = ["n", "oh", "ow", "k", "r", "s", "c"],
        dlas.schedule = {halo = false, instruction = "m16n8k16.f16.f32", kind = "gpu", split = 2 : i64, stages = 3 : i64, tile = {columns = 64 : i64, rows = 64 : i64}, warp = {columns = 32 : i64, rows = 32 : i64}}}
        ins(%padded, %w : tensor<1x16x16x64xf16>, tensor<64x3x3x64xf16>) outs(%f : tensor<1x14x14x64xf32>) {
    ^bb0(%p: f16, %q: f16, %o: f32):
      %pw = arith.extf %p : f16 to f32
      %qw = arith.extf %q : f16 to f32
      %m = arith.mulf %pw, %qw : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<1x14x14x64xf32>
    flow.return %sum : tensor<1x14x14x64xf32>
  }
  return %1 : tensor<1x14x14x64xf32>
}
}
