// RUN: %dlas_opt %s --split-input-file --dlas-split-reductions --canonicalize --cse | FileCheck %s
// RUN: not %dlas_opt %s --split-input-file --dlas-split-reductions=length=0 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`length`

// Rows of 768 neighbours: 16 lanes, which are added up to the initial value.
// CHECK-DAG: #[[READ:.*]] = affine_map<(d0, d1, d2) -> (d0, d1 + d2 * 16)>
// CHECK-DAG: #[[INNER:.*]] = affine_map<(d0, d1, d2) -> (d2)>
// CHECK-LABEL: func.func @rows
// CHECK: %[[ZEROS:.*]] = linalg.fill {{.*}} -> tensor<64x16xf32>
// CHECK: %[[PARTIAL:.*]] = linalg.generic {indexing_maps = [#[[READ]], #[[INNER]], #{{.*}}], iterator_types = ["parallel", "parallel", "reduction"]} ins(%arg0, %{{.*}} : tensor<64x768xf32>, tensor<48xf32>) outs(%[[ZEROS]] : tensor<64x16xf32>)
// CHECK: arith.mulf
// CHECK: arith.addf
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}}iterator_types = ["parallel", "reduction"]} ins(%[[PARTIAL]] : tensor<64x16xf32>) outs(%arg1 : tensor<64xf32>)
// CHECK-NOT: arith.mulf
// CHECK: return %[[SUM]]
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @rows(%x: tensor<64x768xf32>, %start: tensor<64xf32>) -> tensor<64xf32> {
    %y = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<64x768xf32>) outs(%start : tensor<64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %s = arith.mulf %in, %in : f32
      %a = arith.addf %s, %out : f32
      linalg.yield %a : f32
    } -> tensor<64xf32>
    return %y : tensor<64xf32>
  }
}

// -----

// Everything: parts for threads, a loop for the one result, and first what sixteen lanes do not divide.
// CHECK-LABEL: func.func @everything
// CHECK: %[[REST:.*]] = tensor.extract_slice %arg0[4000000] [3] [1]
// CHECK: %[[GIVEN:.*]] = tensor.expand_shape %arg1 [] output_shape [1] : tensor<f32> into tensor<1xf32>
// CHECK: %[[START:.*]] = linalg.generic {{.*}}["parallel", "reduction"]} ins(%[[REST]] : tensor<3xf32>) outs(%[[GIVEN]] : tensor<1xf32>)
// CHECK: %[[WHOLE:.*]] = tensor.extract_slice %arg0[0] [4000000] [1]
// CHECK: %[[PARTIAL:.*]] = linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "reduction"]} ins(%[[WHOLE]], %{{.*}} outs({{.*}} : tensor<[[PARTS:[0-9]+]]x64xf32>)
// CHECK: %[[SUM:.*]] = linalg.generic {{.*}}iterator_types = ["parallel", "reduction", "reduction"]} ins(%[[PARTIAL]] : tensor<[[PARTS]]x64xf32>) outs(%[[START]] : tensor<1xf32>)
// CHECK: tensor.collapse_shape %[[SUM]] [] : tensor<1xf32> into tensor<f32>
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @everything(%x: tensor<4000003xf32>, %start: tensor<f32>) -> tensor<f32> {
    %y = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> ()>], iterator_types = ["reduction"]} ins(%x : tensor<4000003xf32>) outs(%start : tensor<f32>) {
    ^bb0(%in: f32, %out: f32):
      %a = arith.addf %in, %out : f32
      linalg.yield %a : f32
    } -> tensor<f32>
    return %y : tensor<f32>
  }
}

// -----

// The highest of each image starts from the lowest there is.
// CHECK-LABEL: func.func @maximum
// CHECK: %[[LOWEST:.*]] = arith.constant 0xFF800000 : f32
// CHECK: linalg.fill ins(%[[LOWEST]] : f32)
// CHECK: ins(%arg0, %{{.*}} : tensor<2x8x32x32xf32>, tensor<32x2xf32>) outs({{.*}} : tensor<2x8x16xf32>)
// CHECK: arith.maximumf
// CHECK: ins({{.*}} : tensor<2x8x16xf32>) outs(%arg1 : tensor<2x8xf32>)
// CHECK: arith.maximumf
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @maximum(%x: tensor<2x8x32x32xf32>, %start: tensor<2x8xf32>) -> tensor<2x8xf32> {
    %y = linalg.generic {indexing_maps = [affine_map<(n, c, h, w) -> (n, c, h, w)>, affine_map<(n, c, h, w) -> (n, c)>], iterator_types = ["parallel", "parallel", "reduction", "reduction"]} ins(%x : tensor<2x8x32x32xf32>) outs(%start : tensor<2x8xf32>) {
    ^bb0(%in: f32, %out: f32):
      %a = arith.maximumf %in, %out : f32
      linalg.yield %a : f32
    } -> tensor<2x8xf32>
    return %y : tensor<2x8xf32>
  }
}

// -----

// Left alone: what is short, whose results are neighbours, a contraction, and what uses its accumulator otherwise.
// CHECK-LABEL: func.func @others
// CHECK: ins(%arg0 : tensor<64x196xf32>) outs(%arg1 : tensor<64xf32>)
// CHECK: ins(%arg2 : tensor<768x64xf32>) outs(%arg1 : tensor<64xf32>)
// CHECK: ins(%arg3, %arg4 : tensor<64x512xf32>, tensor<32x512xf32>) outs(%arg5 : tensor<64x32xf32>)
// CHECK: ins(%arg3 : tensor<64x512xf32>) outs(%arg1 : tensor<64xf32>)
// CHECK-NOT: linalg.generic
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @others(%x: tensor<64x196xf32>, %start: tensor<64xf32>, %columns: tensor<768x64xf32>, %a: tensor<64x512xf32>, %b: tensor<32x512xf32>, %c: tensor<64x32xf32>)
      -> (tensor<64xf32>, tensor<64xf32>, tensor<64x32xf32>, tensor<64xf32>) {
    %0 = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<64x196xf32>) outs(%start : tensor<64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %s = arith.addf %in, %out : f32
      linalg.yield %s : f32
    } -> tensor<64xf32>
    %1 = linalg.generic {indexing_maps = [affine_map<(a, b) -> (b, a)>, affine_map<(a, b) -> (a)>], iterator_types = ["parallel", "reduction"]} ins(%columns : tensor<768x64xf32>) outs(%start : tensor<64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %s = arith.addf %in, %out : f32
      linalg.yield %s : f32
    } -> tensor<64xf32>
    %2 = linalg.generic {indexing_maps = [affine_map<(a, b, k) -> (a, k)>, affine_map<(a, b, k) -> (b, k)>, affine_map<(a, b, k) -> (a, b)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%a, %b : tensor<64x512xf32>, tensor<32x512xf32>) outs(%c : tensor<64x32xf32>) {
    ^bb0(%in: f32, %in1: f32, %out: f32):
      %p = arith.mulf %in, %in1 : f32
      %s = arith.addf %p, %out : f32
      linalg.yield %s : f32
    } -> tensor<64x32xf32>
    %3 = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>], iterator_types = ["parallel", "reduction"]} ins(%a : tensor<64x512xf32>) outs(%start : tensor<64xf32>) {
    ^bb0(%in: f32, %out: f32):
      %h = arith.mulf %out, %out : f32
      %s = arith.addf %h, %out : f32
      linalg.yield %s : f32
    } -> tensor<64xf32>
    return %0, %1, %2, %3 : tensor<64xf32>, tensor<64xf32>, tensor<64x32xf32>, tensor<64xf32>
  }
}

// -----

// Poolings, and named operations with many summands, become generic, and are split where they can be.
// CHECK-LABEL: func.func @named
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction"]} ins(%arg0, %{{.*}} : tensor<1x40x40x8xf32>, tensor<9x9xf32>) {{.*}}attrs = {dlas.loops = ["n", "oh", "ow", "c", "r", "s"]}
// CHECK: linalg.generic {{.*}} ins(%arg0, %{{.*}} : tensor<1x40x40x8xf32>, tensor<3x3xf32>) {{.*}}attrs = {dlas.loops = ["n", "oh", "ow", "c", "r", "s"]}
// CHECK: ins(%arg1, %{{.*}} : tensor<4x1024xf32>, tensor<{{.*}}xf32>) outs({{.*}} : tensor<4x{{.*}}xf32>)
// CHECK: outs(%arg2 : tensor<4xf32>)
// CHECK: ins(%arg3, %arg3, %{{.*}} : tensor<1024xf32>, tensor<1024xf32>, tensor<16xf32>) outs(%{{.*}} : tensor<64xf32>) attrs = {dlas.loops = ["k64", "k"]}
// CHECK: ins(%{{.*}} : tensor<64xf32>) outs(%{{.*}} : tensor<1xf32>) attrs = {dlas.loops = ["one", "k64"]}
// CHECK-NOT: linalg.dot
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @named(%x: tensor<1x40x40x8xf32>, %y: tensor<4x1024xf32>, %start: tensor<4xf32>, %v: tensor<1024xf32>)
      -> (tensor<1x16x16x8xf32>, tensor<1x19x19x8xf32>, tensor<4xf32>, tensor<f32>) {
    %zero = arith.constant 0.0 : f32
    %large = tensor.empty() : tensor<9x9xf32>
    %small = tensor.empty() : tensor<3x3xf32>
    %e0 = tensor.empty() : tensor<1x16x16x8xf32>
    %f0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<1x16x16x8xf32>) -> tensor<1x16x16x8xf32>
    %0 = linalg.pooling_nhwc_sum {strides = dense<2> : tensor<2xi64>, dilations = dense<1> : tensor<2xi64>} ins(%x, %large : tensor<1x40x40x8xf32>, tensor<9x9xf32>) outs(%f0 : tensor<1x16x16x8xf32>) -> tensor<1x16x16x8xf32>
    %e1 = tensor.empty() : tensor<1x19x19x8xf32>
    %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<1x19x19x8xf32>) -> tensor<1x19x19x8xf32>
    %1 = linalg.pooling_nhwc_sum {strides = dense<2> : tensor<2xi64>, dilations = dense<1> : tensor<2xi64>} ins(%x, %small : tensor<1x40x40x8xf32>, tensor<3x3xf32>) outs(%f1 : tensor<1x19x19x8xf32>) -> tensor<1x19x19x8xf32>
    %2 = linalg.reduce ins(%y : tensor<4x1024xf32>) outs(%start : tensor<4xf32>) dimensions = [1]
      (%in: f32, %out: f32) {
        %s = arith.addf %in, %out : f32
        linalg.yield %s : f32
      }
    %e3 = tensor.empty() : tensor<f32>
    %f3 = linalg.fill ins(%zero : f32) outs(%e3 : tensor<f32>) -> tensor<f32>
    %3 = linalg.dot ins(%v, %v : tensor<1024xf32>, tensor<1024xf32>) outs(%f3 : tensor<f32>) -> tensor<f32>
    return %0, %1, %2, %3 : tensor<1x16x16x8xf32>, tensor<1x19x19x8xf32>, tensor<4xf32>, tensor<f32>
  }
}

// -----

// Few summands, but from something else than a fill.
// CHECK-LABEL: func.func @from_a_constant
// CHECK-NOT: linalg.pooling
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "parallel", "parallel", "reduction"]} ins(%arg0, %{{.*}} : tensor<1x2x4xf32>, tensor<3xf32>) outs(%{{.*}} : tensor<1x2x2xf32>) attrs = {dlas.loops = ["n", "c", "ow", "s"]}
// CHECK: arith.maximumf
// CHECK-NOT: linalg.reduce
// CHECK: linalg.generic {{.*}} ins(%arg1 : tensor<4x8xf32>) outs(%arg2 : tensor<4xf32>)
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @from_a_constant(%x: tensor<1x2x4xf32>, %y: tensor<4x8xf32>, %start: tensor<4xf32>) -> (tensor<1x2x2xf32>, tensor<4xf32>) {
    %first = arith.constant dense<[[[1.0, 2.0], [3.0, -4.0]]]> : tensor<1x2x2xf32>
    %window = tensor.empty() : tensor<3xf32>
    %0 = linalg.pooling_ncw_max {strides = dense<1> : tensor<1xi64>, dilations = dense<1> : tensor<1xi64>} ins(%x, %window : tensor<1x2x4xf32>, tensor<3xf32>) outs(%first : tensor<1x2x2xf32>) -> tensor<1x2x2xf32>
    %1 = linalg.reduce {arith.addf} ins(%y : tensor<4x8xf32>) outs(%start : tensor<4xf32>) dimensions = [1]
    return %0, %1 : tensor<1x2x2xf32>, tensor<4xf32>
  }
}

// -----

// Products of parts can be infinite and zero where none of the whole's is.
// CHECK-LABEL: func.func @product
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "reduction"]} ins(%arg0 : tensor<4x1024xf32>)
// CHECK-NOT: linalg.generic
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @product(%x: tensor<4x1024xf32>, %start: tensor<4xf32>) -> tensor<4xf32> {
    %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<4x1024xf32>) outs(%start : tensor<4xf32>) {
    ^bb0(%a: f32, %o: f32):
      %p = arith.mulf %a, %o : f32
      linalg.yield %p : f32
    } -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// What is neither long nor along neighbours, to a single number: a loop over results, of one.
// CHECK-DAG: #[[X:.*]] = affine_map<(d0, d1, d2) -> (d1 + d2)>
// CHECK-DAG: #[[W:.*]] = affine_map<(d0, d1, d2) -> (d1, d2)>
// CHECK-DAG: #[[ONE:.*]] = affine_map<(d0, d1, d2) -> (d0)>
// CHECK-LABEL: func.func @one_number
// CHECK: %[[SUM:.*]] = linalg.generic {indexing_maps = [#[[X]], #[[W]], #[[ONE]]], iterator_types = ["parallel", "reduction", "reduction"]} ins(%arg0, %arg1 : tensor<7xf32>, tensor<5x3xf32>) outs(%{{.*}} : tensor<1xf32>)
// CHECK: %[[RESULT:.*]] = tensor.collapse_shape %[[SUM]] [] : tensor<1xf32> into tensor<f32>
// CHECK: return %[[RESULT]]
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @one_number(%x: tensor<7xf32>, %w: tensor<5x3xf32>, %start: tensor<f32>) -> tensor<f32> {
    %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0 + d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> ()>], iterator_types = ["reduction", "reduction"]} ins(%x, %w : tensor<7xf32>, tensor<5x3xf32>) outs(%start : tensor<f32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %p = arith.mulf %a, %b : f32
      %s = arith.addf %o, %p : f32
      linalg.yield %s : f32
    } -> tensor<f32>
    return %0 : tensor<f32>
  }
}

// -----

// Rows by columns are sums; other products of matrices are left, but for very long ones, transposed or not.
// CHECK-LABEL: func.func @products
// CHECK: linalg.generic {{.*}}["parallel", "parallel", "reduction"]{{.*}} ins(%arg0, %arg1, %{{.*}} outs({{.*}} : tensor<2x64xf32>)
// CHECK: linalg.batch_matmul ins(%arg2, %arg3
// CHECK: linalg.generic {{.*}}["parallel", "parallel", "parallel", "reduction"]{{.*}} ins(%arg4, %arg5 : tensor<1x2x70000xf32>, tensor<1x3x70000xf32>) outs(%{{.*}} : tensor<1x2x3xf32>) attrs = {dlas.loops = ["b", "m", "n", "k"]}
#m = affine_map<(d0, d1, d2, d3) -> (d0, d1, d3)>
#n = affine_map<(d0, d1, d2, d3) -> (d0, d2, d3)>
#r = affine_map<(d0, d1, d2, d3) -> (d0, d1, d2)>
module attributes {dlas.target = {name = "x", kind = "cpu", vector_bits = 512 : i64, vector_registers = 32 : i64}} {
  func.func @products(%a: tensor<2x1x1024xf32>, %b: tensor<2x1024x1xf32>, %c: tensor<2x4x1024xf32>, %d: tensor<2x1024x4xf32>, %e: tensor<1x2x70000xf32>, %f: tensor<1x3x70000xf32>)
      -> (tensor<2x1x1xf32>, tensor<2x4x4xf32>, tensor<1x2x3xf32>) {
    %zero = arith.constant 0.0 : f32
    %e0 = tensor.empty() : tensor<2x1x1xf32>
    %f0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<2x1x1xf32>) -> tensor<2x1x1xf32>
    %0 = linalg.batch_matmul ins(%a, %b : tensor<2x1x1024xf32>, tensor<2x1024x1xf32>) outs(%f0 : tensor<2x1x1xf32>) -> tensor<2x1x1xf32>
    %e1 = tensor.empty() : tensor<2x4x4xf32>
    %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %1 = linalg.batch_matmul ins(%c, %d : tensor<2x4x1024xf32>, tensor<2x1024x4xf32>) outs(%f1 : tensor<2x4x4xf32>) -> tensor<2x4x4xf32>
    %e2 = tensor.empty() : tensor<1x2x3xf32>
    %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
    %2 = linalg.batch_matmul indexing_maps = [#m, #n, #r] ins(%e, %f : tensor<1x2x70000xf32>, tensor<1x3x70000xf32>) outs(%f2 : tensor<1x2x3xf32>) -> tensor<1x2x3xf32>
    return %0, %1, %2 : tensor<2x1x1xf32>, tensor<2x4x4xf32>, tensor<1x2x3xf32>
  }
}
