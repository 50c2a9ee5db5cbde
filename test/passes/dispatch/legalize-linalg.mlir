// RUN: %dlas_opt %s --split-input-file --dlas-legalize-linalg | FileCheck %s
// RUN: %dlas_opt %s --split-input-file --dlas-legalize-linalg=index=false | FileCheck %s --check-prefix=PLAIN
// RUN: not %dlas_opt %s --split-input-file --dlas-legalize-linalg=length=1 2>&1 | FileCheck %s --check-prefix=OPTION
// OPTION: error: {{.*}}`length`

// Sums, quotients and remainders of loops are computed in the body; what is read plainly stays an operand.
// CHECK-DAG: #[[NONE:.*]] = affine_map<(d0, d1) -> ()>
// CHECK-DAG: #[[SAME:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[DIVIDED:.*]] = affine_map<(d0, d1) -> (d1 floordiv 8 + 1)>
// CHECK-LABEL: func.func @by_index
// PLAIN-LABEL: func.func @by_index
// PLAIN-NOT: tensor.extract
// PLAIN: linalg.generic {{.*}} ins(%arg0, %arg1 : tensor<2x9xi1>, tensor<2x64xi1>)
// CHECK: %[[NOTHING:.*]] = tensor.empty() : tensor<i1>
// CHECK: linalg.generic {indexing_maps = [#[[NONE]], #[[SAME]], #[[SAME]]], {{.*}} ins(%[[NOTHING]], %arg1 : tensor<i1>, tensor<2x64xi1>)
// CHECK-NEXT: ^bb0(%{{.*}}: i1, %[[B:.*]]: i1, %{{.*}}: i1):
// CHECK: %[[I:.*]] = linalg.index 0
// CHECK: %[[J:.*]] = linalg.index 1
// CHECK: %[[K:.*]] = affine.apply #[[DIVIDED]](%[[I]], %[[J]])
// CHECK: %[[A:.*]] = tensor.extract %arg0[%[[I]], %[[K]]] : tensor<2x9xi1>
// CHECK: arith.xori %[[A]], %[[B]]
func.func @by_index(%x: tensor<2x9xi1>, %y: tensor<2x64xi1>) -> tensor<2x64xi1> {
  %e = tensor.empty() : tensor<2x64xi1>
  %z = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1 floordiv 8 + 1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%x, %y : tensor<2x9xi1>, tensor<2x64xi1>) outs(%e : tensor<2x64xi1>) {
  ^bb0(%a: i1, %b: i1, %o: i1):
    %s = arith.xori %a, %b : i1
    linalg.yield %s : i1
  } -> tensor<2x64xi1>
  return %z : tensor<2x64xi1>
}

// -----

// The operand that is read in the body still says how far the loop over columns goes.
// CHECK: #[[COLUMNS:.*]] = affine_map<(d0, d1) -> (d1)>
// CHECK-LABEL: func.func @of_rows
// CHECK: %[[COUNT:.*]] = tensor.empty() : tensor<20xf64>
// CHECK: linalg.generic {indexing_maps = [#[[COLUMNS]], #{{.*}}], iterator_types = ["parallel", "reduction"]} ins(%[[COUNT]] : tensor<20xf64>) outs(%arg1 : tensor<3xf64>)
// CHECK: tensor.extract %arg0
func.func @of_rows(%x: tensor<4x20xf64>, %start: tensor<3xf64>) -> tensor<3xf64> {
  %z = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0 + 1, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<4x20xf64>) outs(%start : tensor<3xf64>) {
  ^bb0(%a: f64, %o: f64):
    %s = arith.addf %o, %a : f64
    linalg.yield %s : f64
  } -> tensor<3xf64>
  return %z : tensor<3xf64>
}

// -----

// An element of a slice is read from what it is a slice of.
// CHECK-DAG: #[[REVERSED:.*]] = affine_map<(d0) -> (-d0 + 20)>
// CHECK-DAG: #[[ROW:.*]] = affine_map<(d0) -> (3)>
// CHECK-DAG: #[[ODD:.*]] = affine_map<(d0) -> (d0 * 2 + 1)>
// CHECK-LABEL: func.func @of_a_slice
// CHECK: %[[J:.*]] = affine.apply #[[REVERSED]]
// CHECK: %[[ROW_3:.*]] = affine.apply #[[ROW]](%[[J]])
// CHECK: %[[COLUMN:.*]] = affine.apply #[[ODD]](%[[J]])
// CHECK: tensor.extract %arg0[%[[ROW_3]], %[[COLUMN]]] : tensor<4x50xi1>
func.func @of_a_slice(%x: tensor<4x50xi1>) -> tensor<20xi1> {
  %part = tensor.extract_slice %x[3, 1] [1, 21] [1, 2] : tensor<4x50xi1> to tensor<21xi1>
  %same = tensor.extract_slice %part[0] [21] [1] : tensor<21xi1> to tensor<21xi1>
  %e = tensor.empty() : tensor<20xi1>
  %z = linalg.generic {indexing_maps = [affine_map<(d0) -> (20 - d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%same : tensor<21xi1>) outs(%e : tensor<20xi1>) {
  ^bb0(%a: i1, %o: i1):
    linalg.yield %a : i1
  } -> tensor<20xi1>
  return %z : tensor<20xi1>
}

// -----

// So is one of a slice that is transposed and reshaped, as an unpacked value is; what is no slice is read as it is.
// CHECK-DAG: #[[ZERO:.*]] = affine_map<(d0, d1, d2) -> (0)>
// CHECK-DAG: #[[PLACE:.*]] = affine_map<(d0, d1, d2) -> (d0 * 4 + d1)>
// CHECK-DAG: #[[LANE:.*]] = affine_map<(d0, d1, d2) -> (3)>
// CHECK-LABEL: func.func @of_an_unpacked_value
// PLAIN-LABEL: func.func @of_an_unpacked_value
// PLAIN: tensor.extract %{{.*}} : tensor<2x4x6xf32>
// CHECK: %[[I:.*]] = arith.index_cast
// CHECK: %[[J:.*]] = linalg.index 0
// CHECK: %[[N:.*]] = affine.apply #[[ZERO]](%[[J]], %[[I]], %[[J]])
// CHECK: %[[H:.*]] = affine.apply #[[PLACE]](%[[J]], %[[I]], %[[J]])
// CHECK: %[[C:.*]] = affine.apply #[[LANE]](%[[J]], %[[I]], %[[J]])
// CHECK: tensor.extract %arg0[%[[N]], %[[H]], %[[J]], %[[C]]] : tensor<1x8x6x16xf32>
// CHECK: tensor.extract %{{.*}}[%[[J]], %[[I]], %[[J]]] : tensor<6x4x2xf32>
func.func @of_an_unpacked_value(%x: tensor<1x8x6x16xf32>, %y: tensor<2x4x6xf32>, %ix: tensor<2xi64>) -> tensor<2xf32> {
  %one = tensor.extract_slice %x[0, 0, 0, 3] [1, 8, 6, 1] [1, 1, 1, 1] : tensor<1x8x6x16xf32> to tensor<1x8x6x1xf32>
  %e = tensor.empty() : tensor<1x1x8x6xf32>
  %t = linalg.transpose ins(%one : tensor<1x8x6x1xf32>) outs(%e : tensor<1x1x8x6xf32>) permutation = [0, 3, 1, 2]
  %c = tensor.collapse_shape %t [[0, 1, 2], [3]] : tensor<1x1x8x6xf32> into tensor<8x6xf32>
  %w = tensor.expand_shape %c [[0, 1], [2]] output_shape [2, 4, 6] : tensor<8x6xf32> into tensor<2x4x6xf32>
  %f = tensor.empty() : tensor<6x4x2xf32>
  %r = linalg.transpose ins(%y : tensor<2x4x6xf32>) outs(%f : tensor<6x4x2xf32>) permutation = [2, 1, 0]
  %g = tensor.empty() : tensor<2xf32>
  %z = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%ix : tensor<2xi64>) outs(%g : tensor<2xf32>) {
  ^bb0(%a: i64, %o: f32):
    %i = arith.index_cast %a : i64 to index
    %j = linalg.index 0 : index
    %u = tensor.extract %w[%j, %i, %j] : tensor<2x4x6xf32>
    %v = tensor.extract %r[%j, %i, %j] : tensor<6x4x2xf32>
    %s = arith.addf %u, %v : f32
    linalg.yield %s : f32
  } -> tensor<2xf32>
  return %z : tensor<2xf32>
}

// -----

// A window with one place reads but as much as it is long.
// CHECK-LABEL: func.func @unread
// PLAIN-LABEL: func.func @unread
// PLAIN: tensor.extract_slice %arg0
// CHECK: %[[ROW:.*]] = tensor.extract_slice %arg0[0, 0, 0] [1, 2, 3] [1, 1, 1] : tensor<1x2x5xf64> to tensor<1x2x3xf64>
// CHECK: linalg.conv_1d_ncw_fcw {{.*}} ins(%[[ROW]], %arg1 : tensor<1x2x3xf64>, tensor<4x2x3xf64>)
// CHECK: linalg.conv_1d_ncw_fcw {{.*}} ins(%arg2, %arg1 : tensor<1x2x8xf64>, tensor<4x2x3xf64>)
func.func @unread(%x: tensor<1x2x5xf64>, %w: tensor<4x2x3xf64>, %wide: tensor<1x2x8xf64>, %o: tensor<1x4x1xf64>, %p: tensor<1x4x2xf64>) -> (tensor<1x4x1xf64>, tensor<1x4x2xf64>) {
  %y = linalg.conv_1d_ncw_fcw {dilations = dense<1> : tensor<1xi64>, strides = dense<3> : tensor<1xi64>} ins(%x, %w : tensor<1x2x5xf64>, tensor<4x2x3xf64>) outs(%o : tensor<1x4x1xf64>) -> tensor<1x4x1xf64>
  %z = linalg.conv_1d_ncw_fcw {dilations = dense<1> : tensor<1xi64>, strides = dense<3> : tensor<1xi64>} ins(%wide, %w : tensor<1x2x8xf64>, tensor<4x2x3xf64>) outs(%p : tensor<1x4x2xf64>) -> tensor<1x4x2xf64>
  return %y, %z : tensor<1x4x1xf64>, tensor<1x4x2xf64>
}

// -----

// Maxima, sums and conjunctions from a constant: from what leaves everything as it is, and the constant last.
// CHECK-LABEL: func.func @from_a_constant
// CHECK-DAG: %[[FIRST:.*]] = arith.constant dense<[1, -1]> : tensor<2xi64>
// CHECK-DAG: %[[LOWEST:.*]] = arith.constant -9223372036854775808 : i64
// CHECK: %[[FILL:.*]] = linalg.fill ins(%[[LOWEST]] : i64)
// CHECK: %[[HIGHEST:.*]] = linalg.reduce { arith.maxsi } ins(%arg0 : tensor<2x3xi64>) outs(%[[FILL]] : tensor<2xi64>)
// CHECK: %[[ALL:.*]] = linalg.generic {{.*}} ins(%{{.*}}, %[[FIRST]] : tensor<2xi64>, tensor<2xi64>)
// CHECK: arith.maxsi
// CHECK: %[[TRUE:.*]] = arith.constant true
// CHECK: linalg.fill ins(%[[TRUE]] : i1)
// CHECK: arith.andi
// CHECK: arith.andi
// CHECK: return %[[ALL]]
func.func @from_a_constant(%x: tensor<2x3xi64>, %b: tensor<2x3xi1>) -> (tensor<2xi64>, tensor<2xi1>) {
  %first = arith.constant dense<[1, -1]> : tensor<2xi64>
  %y = linalg.reduce {arith.maxsi} ins(%x : tensor<2x3xi64>) outs(%first : tensor<2xi64>) dimensions = [1]
  %bits = arith.constant dense<[true, false]> : tensor<2xi1>
  %z = linalg.reduce {arith.andi} ins(%b : tensor<2x3xi1>) outs(%bits : tensor<2xi1>) dimensions = [1]
  return %y, %z : tensor<2xi64>, tensor<2xi1>
}

// -----

// Left alone: the window of a convolution, every other column, one row, a start that is no constant or the same
// everywhere, and a body that does not combine.
// CHECK-LABEL: func.func @others
// CHECK: linalg.generic {{.*}} ins(%arg0, %arg1 : tensor<9x20xf64>, tensor<3xf64>) outs(%arg2 : tensor<7x10xf64>)
// CHECK: linalg.reduce {{.*}} outs(%arg3 : tensor<9xf64>)
// CHECK: linalg.reduce {{.*}} outs(%cst{{.*}} : tensor<9xf64>)
// CHECK: linalg.generic {{.*}} outs(%cst{{.*}} : tensor<2xf64>)
// CHECK-NOT: {{linalg.generic|linalg.fill|linalg.reduce|tensor.extract}}
func.func @others(%x: tensor<9x20xf64>, %w: tensor<3xf64>, %start: tensor<7x10xf64>, %s: tensor<9xf64>, %d: tensor<2x3xf64>)
    -> (tensor<7x10xf64>, tensor<9xf64>, tensor<9xf64>, tensor<2xf64>) {
  %0 = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0 + d2, d1 * 2)>, affine_map<(d0, d1, d2) -> (d2)>, affine_map<(d0, d1, d2) -> (d0, d1)>], iterator_types = ["parallel", "parallel", "reduction"]} ins(%x, %w : tensor<9x20xf64>, tensor<3xf64>) outs(%start : tensor<7x10xf64>) {
  ^bb0(%a: f64, %b: f64, %o: f64):
    %p = arith.mulf %a, %b : f64
    %q = arith.addf %o, %p : f64
    linalg.yield %q : f64
  } -> tensor<7x10xf64>
  %1 = linalg.reduce {arith.addf} ins(%x : tensor<9x20xf64>) outs(%s : tensor<9xf64>) dimensions = [1]
  %same = arith.constant dense<2.0> : tensor<9xf64>
  %2 = linalg.reduce {arith.addf} ins(%x : tensor<9x20xf64>) outs(%same : tensor<9xf64>) dimensions = [1]
  %differ = arith.constant dense<[2.0, 1.0]> : tensor<2xf64>
  %3 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>], iterator_types = ["parallel", "reduction"]} ins(%d : tensor<2x3xf64>) outs(%differ : tensor<2xf64>) {
  ^bb0(%a: f64, %o: f64):
    %h = arith.subf %o, %a : f64
    linalg.yield %h : f64
  } -> tensor<2xf64>
  return %0, %1, %2, %3 : tensor<7x10xf64>, tensor<9xf64>, tensor<9xf64>, tensor<2xf64>
}

// -----

// Two sorts with the same numbers, which are computed from nothing; a scatter into an argument, and one into a constant.
// CHECK-LABEL: func.func @numbered
// CHECK: %[[NUMBERS:.*]] = linalg.generic
// CHECK: %[[HIDDEN:.*]] = util.optimization_barrier %[[NUMBERS]] : tensor<3xi64>
// CHECK: tm_tensor.sort dimension(0) outs(%arg0, %[[HIDDEN]] : tensor<3xf32>, tensor<3xi64>)
// CHECK: tm_tensor.sort dimension(0) outs(%arg1, %[[HIDDEN]] : tensor<3xf32>, tensor<3xi64>)
// CHECK-NOT: util.optimization_barrier
// CHECK: return
func.func @numbered(%x: tensor<3xf32>, %y: tensor<3xf32>, %z: tensor<3xi64>, %i: tensor<1x1xi32>, %u: tensor<1xi64>)
    -> (tensor<3xi64>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) {
  %e = tensor.empty() : tensor<3xi64>
  %n = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%e : tensor<3xi64>) {
  ^bb0(%o: i64):
    %0 = linalg.index 0 : index
    %1 = arith.index_cast %0 : index to i64
    linalg.yield %1 : i64
  } -> tensor<3xi64>
  %a:2 = tm_tensor.sort dimension(0) outs(%x, %n : tensor<3xf32>, tensor<3xi64>) {
  ^bb0(%l: f32, %r: f32, %p: i64, %q: i64):
    %0 = arith.cmpf ole, %l, %r : f32
    tm_tensor.yield %0 : i1
  } -> tensor<3xf32>, tensor<3xi64>
  %b:2 = tm_tensor.sort dimension(0) outs(%y, %n : tensor<3xf32>, tensor<3xi64>) {
  ^bb0(%l: f32, %r: f32, %p: i64, %q: i64):
    %0 = arith.cmpf oge, %l, %r : f32
    tm_tensor.yield %0 : i1
  } -> tensor<3xf32>, tensor<3xi64>
  %c = tm_tensor.scatter {dimension_map = array<i64: 0>} unique_indices(false) ins(%u, %i : tensor<1xi64>, tensor<1x1xi32>) outs(%z : tensor<3xi64>) {
  ^bb0(%new: i64, %old: i64):
    tm_tensor.yield %new : i64
  } -> tensor<3xi64>
  %k = arith.constant dense<[1, 2, 3]> : tensor<3xi64>
  %d = tm_tensor.scatter {dimension_map = array<i64: 0>} unique_indices(false) ins(%u, %i : tensor<1xi64>, tensor<1x1xi32>) outs(%k : tensor<3xi64>) {
  ^bb0(%new: i64, %old: i64):
    tm_tensor.yield %new : i64
  } -> tensor<3xi64>
  return %a#1, %b#1, %c, %d : tensor<3xi64>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>
}

// -----

// An insertion into a constant becomes padding; one into anything else stays.
// CHECK-LABEL: func.func @inserted
// CHECK: %[[PAD:.*]] = tensor.pad %arg0 low[0, 1] high[0, 2]
// CHECK: %[[INTO:.*]] = tensor.insert_slice %arg0 into %arg1[0, 1] [6, 5] [1, 1]
// CHECK: return %[[PAD]], %[[INTO]]
func.func @inserted(%x: tensor<6x5xf32>, %y: tensor<6x8xf32>) -> (tensor<6x8xf32>, tensor<6x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<6x8xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<6x8xf32>) -> tensor<6x8xf32>
  %a = tensor.insert_slice %x into %f[0, 1] [6, 5] [1, 1] : tensor<6x5xf32> into tensor<6x8xf32>
  %b = tensor.insert_slice %x into %y[0, 1] [6, 5] [1, 1] : tensor<6x5xf32> into tensor<6x8xf32>
  return %a, %b : tensor<6x8xf32>, tensor<6x8xf32>
}

// -----

// What a convolution reads is not computed in its tiles where indices are in it; another generic reads it as it is.
// CHECK-LABEL: func.func @counted
// CHECK: %[[COUNTED:.*]] = linalg.generic
// CHECK: linalg.index 0
// CHECK: %[[APART:.*]] = util.optimization_barrier %[[COUNTED]] : tensor<22x8xi64>
// CHECK: linalg.conv_2d ins(%[[APART]], %arg1
// CHECK: linalg.generic {{.*}} ins(%[[COUNTED]] :
#id = affine_map<(d0, d1) -> (d0, d1)>
func.func @counted(%x: tensor<22x8xi64>, %w: tensor<1x3xi64>, %start: tensor<22x6xi64>) -> (tensor<22x6xi64>, tensor<22x8xi64>) {
  %e = tensor.empty() : tensor<22x8xi64>
  %n = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<22x8xi64>) outs(%e : tensor<22x8xi64>) {
  ^bb0(%a: i64, %o: i64):
    %i = linalg.index 0 : index
    %j = arith.index_cast %i : index to i64
    %k = arith.addi %a, %j : i64
    linalg.yield %k : i64
  } -> tensor<22x8xi64>
  %y = linalg.conv_2d ins(%n, %w : tensor<22x8xi64>, tensor<1x3xi64>) outs(%start : tensor<22x6xi64>) -> tensor<22x6xi64>
  %z = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%n : tensor<22x8xi64>) outs(%e : tensor<22x8xi64>) {
  ^bb0(%a: i64, %o: i64):
    %k = arith.addi %a, %a : i64
    linalg.yield %k : i64
  } -> tensor<22x8xi64>
  return %y, %z : tensor<22x6xi64>, tensor<22x8xi64>
}

// -----

// A slice of one element is kept from what gives it dimensions; one that is everything, or more, is not.
// CHECK-LABEL: func.func @one_element
// CHECK: %[[ELEMENT:.*]] = tensor.extract_slice %arg0[0, 3]
// CHECK: %[[APART:.*]] = util.optimization_barrier %[[ELEMENT]] : tensor<1x1xf32>
// CHECK: tensor.expand_shape %[[APART]]
// CHECK: %[[ALL:.*]] = tensor.extract_slice %arg1[0]
// CHECK: tensor.expand_shape %[[ALL]]
// CHECK: %[[TWO:.*]] = tensor.extract_slice %arg0[0, 4]
// CHECK: tensor.expand_shape %[[TWO]]
// CHECK-NOT: util.optimization_barrier
func.func @one_element(%x: tensor<1x8xf32>, %y: tensor<1xf32>) -> (tensor<1x1x1x1xf32>, tensor<1x1xf32>, tensor<1x2x1xf32>) {
  %s = tensor.extract_slice %x[0, 3] [1, 1] [1, 1] : tensor<1x8xf32> to tensor<1x1xf32>
  %a = tensor.expand_shape %s [[0], [1, 2, 3]] output_shape [1, 1, 1, 1] : tensor<1x1xf32> into tensor<1x1x1x1xf32>
  %t = tensor.extract_slice %y[0] [1] [2] : tensor<1xf32> to tensor<1xf32>
  %b = tensor.expand_shape %t [[0, 1]] output_shape [1, 1] : tensor<1xf32> into tensor<1x1xf32>
  %u = tensor.extract_slice %x[0, 4] [1, 2] [1, 1] : tensor<1x8xf32> to tensor<1x2xf32>
  %c = tensor.expand_shape %u [[0], [1, 2]] output_shape [1, 2, 1] : tensor<1x2xf32> into tensor<1x2x1xf32>
  return %a, %b, %c : tensor<1x1x1x1xf32>, tensor<1x1xf32>, tensor<1x2x1xf32>
}

// -----

// What is the same number everywhere is not put into the body of what sums it.
// CHECK-LABEL: func.func @of_one_number
// CHECK: %[[X:.*]] = util.optimization_barrier %{{.*}} : tensor<1x2x8xf64>
// CHECK: %[[W:.*]] = util.optimization_barrier %{{.*}} : tensor<4x2x3xf64>
// CHECK: linalg.conv_1d_ncw_fcw {{.*}} ins(%[[X]], %[[W]] :
// CHECK: linalg.conv_1d_ncw_fcw {{.*}} ins(%arg0, %{{[a-z].*}} :
// CHECK-NOT: util.optimization_barrier
func.func @of_one_number(%y: tensor<1x2x8xf64>, %o: tensor<1x4x6xf64>) -> (tensor<1x4x6xf64>, tensor<1x4x6xf64>) {
  %x = arith.constant dense<2.0> : tensor<1x2x8xf64>
  %c = arith.constant 3.0 : f64
  %e = tensor.empty() : tensor<8x3xf64>
  %f = linalg.fill ins(%c : f64) outs(%e : tensor<8x3xf64>) -> tensor<8x3xf64>
  %w = tensor.expand_shape %f [[0, 1], [2]] output_shape [4, 2, 3] : tensor<8x3xf64> into tensor<4x2x3xf64>
  %r = linalg.conv_1d_ncw_fcw {dilations = dense<1> : tensor<1xi64>, strides = dense<1> : tensor<1xi64>} ins(%x, %w : tensor<1x2x8xf64>, tensor<4x2x3xf64>) outs(%o : tensor<1x4x6xf64>) -> tensor<1x4x6xf64>
  %s = linalg.conv_1d_ncw_fcw {dilations = dense<1> : tensor<1xi64>, strides = dense<1> : tensor<1xi64>} ins(%y, %w : tensor<1x2x8xf64>, tensor<4x2x3xf64>) outs(%r : tensor<1x4x6xf64>) -> tensor<1x4x6xf64>
  return %r, %s : tensor<1x4x6xf64>, tensor<1x4x6xf64>
}

// -----

// In loops too, and where the slice begins at a number that is computed.
// CHECK-DAG: #[[STEP:.*]] = affine_map<(d0, d1, d2) -> (d0 + d1)>
// CHECK-LABEL: func.func @of_a_computed_slice
// CHECK: scf.for %[[N:.*]] = {{.*}} iter_args(%[[X:.*]] = %arg0)
// CHECK: %[[I:.*]] = linalg.index 0
// CHECK: %[[ROW:.*]] = affine.apply #[[STEP]](%[[I]], %[[N]], %[[N]])
// CHECK: tensor.extract %[[X]][%[[ROW]], %[[N]]] : tensor<8x8xf32>
func.func @of_a_computed_slice(%x: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %end = arith.constant 4 : index
  %y = scf.for %n = %zero to %end step %one iter_args(%a = %x) -> (tensor<8x8xf32>) {
    %column = tensor.extract_slice %a[%n, %n] [4, 1] [1, 1] : tensor<8x8xf32> to tensor<4xf32>
    %e = tensor.empty() : tensor<4xf32>
    %f = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%e : tensor<4xf32>) {
    ^bb0(%o: f32):
      %i = linalg.index 0 : index
      %u = tensor.extract %column[%i] : tensor<4xf32>
      linalg.yield %u : f32
    } -> tensor<4xf32>
    %b = tensor.insert_slice %f into %a[0, 0] [1, 4] [1, 1] : tensor<4xf32> into tensor<8x8xf32>
    scf.yield %b : tensor<8x8xf32>
  }
  return %y : tensor<8x8xf32>
}
