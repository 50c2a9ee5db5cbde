// RUN: %dlas_opt %s --split-input-file --dlas-fuse-depthwise | FileCheck %s
// RUN: %dlas_opt %s --split-input-file --dlas-fuse-depthwise=bindings=3 | FileCheck %s --check-prefix=FEW
// RUN: not %dlas_opt %s --split-input-file --dlas-fuse-depthwise=bindings=1 2>&1 | FileCheck %s --check-prefix=VALUE

// VALUE: error: `bindings`: expected at least 2, found 1

#window = affine_map<(h, w, k, r) -> (h + r, w, k)>
#taps = affine_map<(h, w, k, r) -> (r, k)>
#image = affine_map<(h, w, k, r) -> (h, w, k)>
#data = affine_map<(h, w, k, c) -> (h, w, c)>
#weights = affine_map<(h, w, k, c) -> (c, k)>
#id = affine_map<(h, w, k) -> (h, w, k)>

module attributes {dlas.target = {name = "small", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64, l2_bytes = 8192 : i64}} {

// The product reads what the sum of two rows gives, and nobody else does: one region, in the order of computing.
// CHECK-LABEL: func.func @fused
// CHECK: flow.dispatch.region
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0, %arg1
// CHECK: %[[MADE:.*]] = linalg.generic
// CHECK: arith.maximumf
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[MADE]], %arg2
// CHECK-NOT: flow.dispatch.region
// CHECK: return
// Together they read three tensors and make one.
// FEW-LABEL: func.func @fused
// FEW-COUNT-2: flow.dispatch.region
// FEW: return
func.func @fused(%x: tensor<33x8x16xf32>, %t: tensor<2x16xf32>, %w: tensor<16x8xf32>) -> tensor<32x8x8xf32> {
  %zero = arith.constant 0.0 : f32
  %made = flow.dispatch.region -> (tensor<32x8x16xf32>) {
    %e = tensor.empty() : tensor<32x8x16xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x16xf32>) -> tensor<32x8x16xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %t : tensor<33x8x16xf32>, tensor<2x16xf32>) outs(%f : tensor<32x8x16xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x16xf32>
    %2 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%1 : tensor<32x8x16xf32>) outs(%e : tensor<32x8x16xf32>) {
    ^bb0(%p: f32, %o: f32):
      %m = arith.maximumf %p, %zero : f32
      linalg.yield %m : f32
    } -> tensor<32x8x16xf32>
    flow.return %2 : tensor<32x8x16xf32>
  }
  %y = flow.dispatch.region -> (tensor<32x8x8xf32>) {
    %e = tensor.empty() : tensor<32x8x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x8xf32>) -> tensor<32x8x8xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%made, %w : tensor<32x8x16xf32>, tensor<16x8xf32>) outs(%f : tensor<32x8x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x8xf32>
    flow.return %1 : tensor<32x8x8xf32>
  }
  return %y : tensor<32x8x8xf32>
}

// Somebody else reads it too.
// CHECK-LABEL: func.func @two_readers
// CHECK-COUNT-2: flow.dispatch.region
// CHECK: return
func.func @two_readers(%x: tensor<33x8x16xf32>, %t: tensor<2x16xf32>, %w: tensor<16x8xf32>) -> (tensor<32x8x8xf32>, tensor<32x8x16xf32>) {
  %made = flow.dispatch.region -> (tensor<32x8x16xf32>) {
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<32x8x16xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x16xf32>) -> tensor<32x8x16xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %t : tensor<33x8x16xf32>, tensor<2x16xf32>) outs(%f : tensor<32x8x16xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x16xf32>
    flow.return %1 : tensor<32x8x16xf32>
  }
  %y = flow.dispatch.region -> (tensor<32x8x8xf32>) {
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<32x8x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x8xf32>) -> tensor<32x8x8xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%made, %w : tensor<32x8x16xf32>, tensor<16x8xf32>) outs(%f : tensor<32x8x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x8xf32>
    flow.return %1 : tensor<32x8x8xf32>
  }
  return %y, %made : tensor<32x8x8xf32>, tensor<32x8x16xf32>
}

// What the sum reads is what the product updates.
// CHECK-LABEL: func.func @updates
// CHECK-COUNT-2: flow.dispatch.region
// CHECK: return
func.func @updates(%x: tensor<33x8x16xf32>, %t: tensor<2x16xf32>, %w: tensor<16x8xf32>) -> tensor<33x8x16xf32> {
  %made = flow.dispatch.region -> (tensor<32x8x16xf32>) {
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<32x8x16xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x16xf32>) -> tensor<32x8x16xf32>
    %1 = linalg.generic {indexing_maps = [#window, #taps, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %t : tensor<33x8x16xf32>, tensor<2x16xf32>) outs(%f : tensor<32x8x16xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x16xf32>
    flow.return %1 : tensor<32x8x16xf32>
  }
  %y = flow.dispatch.region -> (tensor<33x8x16xf32>) {
    %zero = arith.constant 0.0 : f32
    %e = tensor.empty() : tensor<32x8x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x8xf32>) -> tensor<32x8x8xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%made, %w : tensor<32x8x16xf32>, tensor<16x8xf32>) outs(%f : tensor<32x8x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x8xf32>
    %2 = tensor.insert_slice %1 into %x[0, 0, 0] [32, 8, 8] [1, 1, 1] : tensor<32x8x8xf32> into tensor<33x8x16xf32>
    flow.return %2 : tensor<33x8x16xf32>
  }
  return %y : tensor<33x8x16xf32>
}
}

// -----

#data = affine_map<(h, w, k, c) -> (h, w, c)>
#weights = affine_map<(h, w, k, c) -> (c, k)>
#image = affine_map<(h, w, k, c) -> (h, w, k)>

module attributes {dlas.target = {name = "small", kind = "cpu", vector_bits = 128 : i64, vector_registers = 32 : i64, l2_bytes = 8192 : i64}} {

// What is made by another product is worth a kernel of its own: it reads all channels for each of its results.
// CHECK-LABEL: func.func @products
// CHECK-COUNT-2: flow.dispatch.region
// CHECK: return
func.func @products(%x: tensor<32x8x16xf32>, %v: tensor<16x16xf32>, %w: tensor<16x8xf32>) -> tensor<32x8x8xf32> {
  %zero = arith.constant 0.0 : f32
  %made = flow.dispatch.region -> (tensor<32x8x16xf32>) {
    %e = tensor.empty() : tensor<32x8x16xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x16xf32>) -> tensor<32x8x16xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%x, %v : tensor<32x8x16xf32>, tensor<16x16xf32>) outs(%f : tensor<32x8x16xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x16xf32>
    flow.return %1 : tensor<32x8x16xf32>
  }
  %y = flow.dispatch.region -> (tensor<32x8x8xf32>) {
    %e = tensor.empty() : tensor<32x8x8xf32>
    %f = linalg.fill ins(%zero : f32) outs(%e : tensor<32x8x8xf32>) -> tensor<32x8x8xf32>
    %1 = linalg.generic {indexing_maps = [#data, #weights, #image], iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%made, %w : tensor<32x8x16xf32>, tensor<16x8xf32>) outs(%f : tensor<32x8x8xf32>) {
    ^bb0(%p: f32, %q: f32, %o: f32):
      %m = arith.mulf %p, %q : f32
      %s = arith.addf %o, %m : f32
      linalg.yield %s : f32
    } -> tensor<32x8x8xf32>
    flow.return %1 : tensor<32x8x8xf32>
  }
  return %y : tensor<32x8x8xf32>
}
}
