// RUN: %dlas_opt %s --split-input-file --dlas-lower-qdq --canonicalize --mlir-print-local-scope 2>%t | FileCheck %s
// RUN: FileCheck %s --check-prefix=REMARK < %t
// RUN: not %dlas_opt %s --dlas-lower-qdq=bits=4 2>&1 | FileCheck %s --check-prefix=OPTION
// RUN: not %dlas_opt %s --pass-pipeline='dlas-set-target{kind=gpu target=g},dlas-lower-qdq{require=true}' 2>&1 | FileCheck %s --check-prefix=NOBYTES
// OPTION: error: {{.*}}bits
// NOBYTES: error: g does not compute with codes of 8 bits: take a target that does, or a recipe in float32

// A convolution between codes: padding by the zero point, a correction for it, ReLU left to the range of the codes.
// CHECK-LABEL: func.func @convolution
// CHECK: %[[P:.*]] = tensor.pad %arg0
// CHECK: tensor.yield %c3_i8
// CHECK: %[[X:.*]] = linalg.generic {{.*}} ins(%[[P]] : tensor<1x4x6x6xi8>) outs({{.*}} : tensor<1x4x6x6xi32>)
// CHECK: arith.extui
// CHECK: %[[W:.*]] = linalg.generic {{.*}} ins({{.*}} : tensor<2x4x3x3xi8>)
// CHECK: arith.extsi
// CHECK: %[[Y:.*]] = linalg.conv_2d_nchw_fchw {{.*}}ins(%[[X]], %[[W]] : tensor<1x4x6x6xi32>, tensor<2x4x3x3xi32>)
// CHECK: %[[F:.*]] = linalg.generic {{.*}} ins(%[[Y]]
// CHECK: arith.addi
// CHECK: arith.sitofp
// CHECK: math.fma
// CHECK: linalg.generic {{.*}} ins(%[[F]]
// CHECK-NEXT: ^bb0
// CHECK-NEXT: arith.cmpf ogt
// CHECK-NOT: cmpf ugt
// CHECK: return %{{.*}} : tensor<1x2x4x4xi8>
func.func @convolution(%codes: tensor<1x4x4x4xi8>) -> tensor<1x2x4x4xi8> {
  %zero = arith.constant 0.0 : f32
  %top = arith.constant 255.0 : f32
  %three = arith.constant 3 : i64
  %scale = arith.constant 5.0e-01 : f64
  %out_scale = arith.constant 2.0 : f32
  %w = arith.constant dense<2> : tensor<2x4x3x3xi8>
  %ws = arith.constant dense<[0.25, 0.125]> : tensor<2xf32>
  %wz = arith.constant dense<0> : tensor<2xi64>
  %bias = arith.constant dense<[1.0, -1.0]> : tensor<2xf32>
  %ex = tensor.empty() : tensor<1x4x4x4xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%codes : tensor<1x4x4x4xi8>) outs(%ex : tensor<1x4x4x4xf32>) {
  ^bb0(%in: i8, %out: f32):
    %0 = arith.extui %in : i8 to i64
    %1 = arith.subi %0, %three : i64
    %2 = arith.truncf %scale : f64 to f32
    %3 = arith.sitofp %1 : i64 to f32
    %4 = arith.mulf %3, %2 : f32
    linalg.yield %4 : f32
  } -> tensor<1x4x4x4xf32>
  %ew = tensor.empty() : tensor<2x4x3x3xf32>
  %wf = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a)>, affine_map<(a, b, c, d) -> (a)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%w, %ws, %wz : tensor<2x4x3x3xi8>, tensor<2xf32>, tensor<2xi64>) outs(%ew : tensor<2x4x3x3xf32>) {
  ^bb0(%in: i8, %s: f32, %z: i64, %out: f32):
    %0 = arith.extsi %in : i8 to i64
    %1 = arith.subi %0, %z : i64
    %2 = arith.sitofp %1 : i64 to f32
    %3 = arith.mulf %2, %s : f32
    linalg.yield %3 : f32
  } -> tensor<2x4x3x3xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 1, 1] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %zero : f32
  } : tensor<1x4x4x4xf32> to tensor<1x4x6x6xf32>
  %e = tensor.empty() : tensor<1x2x4x4xf32>
  %b = linalg.broadcast ins(%bias : tensor<2xf32>) outs(%e : tensor<1x2x4x4xf32>) dimensions = [0, 2, 3]
  %y = linalg.conv_2d_nchw_fchw ins(%p, %wf : tensor<1x4x6x6xf32>, tensor<2x4x3x3xf32>) outs(%b : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%y : tensor<1x2x4x4xf32>) outs(%e : tensor<1x2x4x4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %0 = arith.cmpf ugt, %in, %zero : f32
    %1 = arith.select %0, %in, %zero : f32
    linalg.yield %1 : f32
  } -> tensor<1x2x4x4xf32>
  %eq = tensor.empty() : tensor<1x2x4x4xi8>
  %q = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%r : tensor<1x2x4x4xf32>) outs(%eq : tensor<1x2x4x4xi8>) {
  ^bb0(%in: f32, %out: i8):
    %0 = arith.divf %in, %out_scale : f32
    %1 = math.roundeven %0 : f32
    %2 = arith.addf %1, %zero : f32
    %3 = arith.maximumf %2, %zero : f32
    %4 = arith.minimumf %3, %top : f32
    %5 = arith.fptoui %4 : f32 to i8
    linalg.yield %5 : i8
  } -> tensor<1x2x4x4xi8>
  return %q : tensor<1x2x4x4xi8>
}

// -----

// Codes are moved by padding and maximum pooling; quantizing them again by the same parameters does nothing.
// CHECK-LABEL: func.func @pooling
// CHECK: tensor.pad %arg0
// CHECK: linalg.generic {{.*}}dlas.loops = ["n", "c", "oh", "ow", "r", "s"]
// CHECK: arith.maxui
// CHECK-NOT: fptoui
// CHECK: return %{{.*}} : tensor<1x4x2x2xi8>
func.func @pooling(%codes: tensor<1x4x4x4xi8>) -> tensor<1x4x2x2xi8> {
  %zero = arith.constant 0.0 : f32
  %lowest = arith.constant 0xFF800000 : f32
  %top = arith.constant 255.0 : f32
  %scale = arith.constant 0.5 : f32
  %ex = tensor.empty() : tensor<1x4x4x4xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%codes : tensor<1x4x4x4xi8>) outs(%ex : tensor<1x4x4x4xf32>) {
  ^bb0(%in: i8, %out: f32):
    %0 = arith.uitofp %in : i8 to f32
    %1 = arith.mulf %0, %scale : f32
    linalg.yield %1 : f32
  } -> tensor<1x4x4x4xf32>
  %p = tensor.pad %x low[0, 0, 1, 1] high[0, 0, 0, 0] {
  ^bb0(%a: index, %b: index, %c: index, %d: index):
    tensor.yield %lowest : f32
  } : tensor<1x4x4x4xf32> to tensor<1x4x5x5xf32>
  %e = tensor.empty() : tensor<1x4x2x2xf32>
  %f = linalg.fill ins(%lowest : f32) outs(%e : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  %window = tensor.empty() : tensor<3x3xf32>
  %m = linalg.pooling_nchw_max {strides = dense<2> : vector<2xi64>, dilations = dense<1> : vector<2xi64>} ins(%p, %window : tensor<1x4x5x5xf32>, tensor<3x3xf32>) outs(%f : tensor<1x4x2x2xf32>) -> tensor<1x4x2x2xf32>
  %eq = tensor.empty() : tensor<1x4x2x2xi8>
  %q = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%m : tensor<1x4x2x2xf32>) outs(%eq : tensor<1x4x2x2xi8>) {
  ^bb0(%in: f32, %out: i8):
    %0 = arith.divf %in, %scale : f32
    %1 = math.roundeven %0 : f32
    %2 = arith.addf %1, %zero : f32
    %3 = arith.maximumf %2, %zero : f32
    %4 = arith.minimumf %3, %top : f32
    %5 = arith.fptoui %4 : f32 to i8
    linalg.yield %5 : i8
  } -> tensor<1x4x2x2xi8>
  return %q : tensor<1x4x2x2xi8>
}

// -----

// Float weights: the layer stays in float, and its input is dequantized where it is read.
// CHECK-LABEL: func.func @float_weights
// CHECK: linalg.conv_2d_nchw_fchw {{.*}}tensor<1x2x4x4xf32>
// REMARK: remark: layer {{.*}} (1x1 4->2 @4x4) stays in float: its weights are not quantized
func.func @float_weights(%codes: tensor<1x4x4x4xi8>, %w: tensor<2x4x1x1xf32>, %start: tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32> {
  %scale = arith.constant 0.5 : f32
  %ex = tensor.empty() : tensor<1x4x4x4xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%codes : tensor<1x4x4x4xi8>) outs(%ex : tensor<1x4x4x4xf32>) {
  ^bb0(%in: i8, %out: f32):
    %0 = arith.uitofp %in : i8 to f32
    %1 = arith.mulf %0, %scale : f32
    linalg.yield %1 : f32
  } -> tensor<1x4x4x4xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%x, %w : tensor<1x4x4x4xf32>, tensor<2x4x1x1xf32>) outs(%start : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// Codes of 16 bits are for whoever reads them: the layer stays in float.
// CHECK-LABEL: func.func @wide_codes
// CHECK: linalg.matmul
// CHECK: arith.fptosi {{.*}} : f32 to i16
// CHECK: return {{.*}} : tensor<2x4xi16>
func.func @wide_codes(%x: tensor<2x4xf32>, %w: tensor<4x4xf32>, %start: tensor<2x4xf32>) -> tensor<2x4xi16> {
  %scale = arith.constant 0.5 : f32
  %zero = arith.constant 0.0 : f32
  %low = arith.constant -32768.0 : f32
  %high = arith.constant 32767.0 : f32
  %y = linalg.matmul ins(%x, %w : tensor<2x4xf32>, tensor<4x4xf32>) outs(%start : tensor<2x4xf32>) -> tensor<2x4xf32>
  %e = tensor.empty() : tensor<2x4xi16>
  %q = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>], iterator_types = ["parallel", "parallel"]} ins(%y : tensor<2x4xf32>) outs(%e : tensor<2x4xi16>) {
  ^bb0(%in: f32, %out: i16):
    %0 = arith.divf %in, %scale : f32
    %1 = math.roundeven %0 : f32
    %2 = arith.addf %1, %zero : f32
    %3 = arith.maximumf %2, %low : f32
    %4 = arith.minimumf %3, %high : f32
    %5 = arith.fptosi %4 : f32 to i16
    linalg.yield %5 : i16
  } -> tensor<2x4xi16>
  return %q : tensor<2x4xi16>
}

// -----

// Quantizing minus infinity gives the least code, so that padding by it moves codes.
// CHECK-LABEL: func.func @quantized_padding
// CHECK-SAME: (%[[CODES:.*]]: tensor<4xi8>)
// CHECK: %[[P:.*]] = tensor.pad %[[CODES]]
// CHECK: tensor.yield %c0_i8
// CHECK: return %[[P]] : tensor<6xi8>
func.func @quantized_padding(%codes: tensor<4xi8>) -> tensor<6xi8> {
  %lowest = arith.constant 0xFF800000 : f32
  %zero = arith.constant 0.0 : f32
  %top = arith.constant 255.0 : f32
  %scale = arith.constant 0.5 : f32
  %ex = tensor.empty() : tensor<4xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%codes : tensor<4xi8>) outs(%ex : tensor<4xf32>) {
  ^bb0(%in: i8, %out: f32):
    %0 = arith.uitofp %in : i8 to f32
    %1 = arith.mulf %0, %scale : f32
    linalg.yield %1 : f32
  } -> tensor<4xf32>
  %p = tensor.pad %x low[1] high[1] {
  ^bb0(%a: index):
    tensor.yield %lowest : f32
  } : tensor<4xf32> to tensor<6xf32>
  %eq = tensor.empty() : tensor<6xi8>
  %q = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%p : tensor<6xf32>) outs(%eq : tensor<6xi8>) {
  ^bb0(%in: f32, %out: i8):
    %0 = arith.divf %in, %scale : f32
    %1 = math.roundeven %0 : f32
    %2 = arith.addf %1, %zero : f32
    %3 = arith.maximumf %2, %zero : f32
    %4 = arith.minimumf %3, %top : f32
    %5 = arith.fptoui %4 : f32 to i8
    linalg.yield %5 : i8
  } -> tensor<6xi8>
  return %q : tensor<6xi8>
}

// -----

// A scale of zero makes no codes: the operation stays as it is. So does a padding that is read as a number.
// CHECK-LABEL: func.func @no_scale
// CHECK: tensor.pad %{{.*}}
// CHECK: tensor.yield %{{.*}} : f32
// CHECK: arith.divf
// CHECK: arith.fptoui
func.func @no_scale(%codes: tensor<4xi8>) -> (tensor<6xf32>, tensor<6xi8>) {
  %lowest = arith.constant 0xFF800000 : f32
  %zero = arith.constant 0.0 : f32
  %top = arith.constant 255.0 : f32
  %scale = arith.constant 0.0 : f32
  %ex = tensor.empty() : tensor<4xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%codes : tensor<4xi8>) outs(%ex : tensor<4xf32>) {
  ^bb0(%in: i8, %out: f32):
    %0 = arith.uitofp %in : i8 to f32
    %1 = arith.mulf %0, %scale : f32
    linalg.yield %1 : f32
  } -> tensor<4xf32>
  %p = tensor.pad %x low[1] high[1] {
  ^bb0(%a: index):
    tensor.yield %lowest : f32
  } : tensor<4xf32> to tensor<6xf32>
  %eq = tensor.empty() : tensor<6xi8>
  %q = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%p : tensor<6xf32>) outs(%eq : tensor<6xi8>) {
  ^bb0(%in: f32, %out: i8):
    %0 = arith.divf %in, %scale : f32
    %1 = math.roundeven %0 : f32
    %2 = arith.addf %1, %zero : f32
    %3 = arith.maximumf %2, %zero : f32
    %4 = arith.minimumf %3, %top : f32
    %5 = arith.fptoui %4 : f32 to i8
    linalg.yield %5 : i8
  } -> tensor<6xi8>
  return %p, %q : tensor<6xf32>, tensor<6xi8>
}

// -----

// Zero points in 8 bits, widened where they are subtracted, as ONNX has them: 200 is no negative number.
// CHECK-LABEL: func.func @narrow_zero_points
// CHECK: arith.constant dense<[-1600, -3200]> : tensor<2xi32>
// CHECK: linalg.conv_2d_nchw_fchw {{.*}} : tensor<1x2x4x4xi32>, tensor<2x2x1x1xi32>)
func.func @narrow_zero_points(%codes: tensor<1x2x4x4xi8>) -> tensor<1x2x4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %scale = arith.constant 0.5 : f32
  %w = arith.constant dense<[[[[4]], [[4]]], [[[8]], [[8]]]]> : tensor<2x2x1x1xi8>
  %ws = arith.constant dense<[0.25, 0.125]> : tensor<2xf32>
  %wz = arith.constant dense<0> : tensor<2xi8>
  %ex = tensor.empty() : tensor<1x2x4x4xf32>
  %x = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%codes : tensor<1x2x4x4xi8>) outs(%ex : tensor<1x2x4x4xf32>) {
  ^bb0(%in: i8, %out: f32):
    %c200 = arith.constant -56 : i8
    %0 = arith.extui %in : i8 to i16
    %1 = arith.extui %c200 : i8 to i16
    %2 = arith.subi %0, %1 : i16
    %3 = arith.sitofp %2 : i16 to f32
    %4 = arith.mulf %3, %scale : f32
    linalg.yield %4 : f32
  } -> tensor<1x2x4x4xf32>
  %ew = tensor.empty() : tensor<2x2x1x1xf32>
  %wf = linalg.generic {indexing_maps = [affine_map<(a, b, c, d) -> (a, b, c, d)>, affine_map<(a, b, c, d) -> (a)>, affine_map<(a, b, c, d) -> (a)>, affine_map<(a, b, c, d) -> (a, b, c, d)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]} ins(%w, %ws, %wz : tensor<2x2x1x1xi8>, tensor<2xf32>, tensor<2xi8>) outs(%ew : tensor<2x2x1x1xf32>) {
  ^bb0(%in: i8, %s: f32, %zp: i8, %out: f32):
    %0 = arith.extsi %zp : i8 to i16
    %1 = arith.extsi %in : i8 to i16
    %2 = arith.subi %1, %0 : i16
    %3 = arith.sitofp %2 : i16 to f32
    %4 = arith.mulf %3, %s : f32
    linalg.yield %4 : f32
  } -> tensor<2x2x1x1xf32>
  %e = tensor.empty() : tensor<1x2x4x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  %y = linalg.conv_2d_nchw_fchw ins(%x, %wf : tensor<1x2x4x4xf32>, tensor<2x2x1x1xf32>) outs(%f : tensor<1x2x4x4xf32>) -> tensor<1x2x4x4xf32>
  return %y : tensor<1x2x4x4xf32>
}

// -----

// Codes in bfloat16 stay: what becomes of codes is f32, and would not fit where they are read.
// CHECK-LABEL: func.func @codes_in_bf16
// CHECK: %[[X:.*]] = linalg.generic {{.*}} ins(%arg0 : tensor<4xi8>) outs({{.*}} : tensor<4xbf16>)
// CHECK: linalg.generic {{.*}} ins(%[[X]] : tensor<4xbf16>)
// CHECK: arith.subf {{.*}} : bf16
func.func @codes_in_bf16(%codes: tensor<4xi8>) -> tensor<4xbf16> {
  %scale = arith.constant 5.0e-01 : bf16
  %e = tensor.empty() : tensor<4xbf16>
  %x = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%codes : tensor<4xi8>) outs(%e : tensor<4xbf16>) {
  ^bb0(%in: i8, %out: bf16):
    %0 = arith.uitofp %in : i8 to bf16
    %1 = arith.mulf %0, %scale : bf16
    linalg.yield %1 : bf16
  } -> tensor<4xbf16>
  %y = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]} ins(%x : tensor<4xbf16>) outs(%e : tensor<4xbf16>) {
  ^bb0(%in: bf16, %out: bf16):
    %0 = arith.subf %in, %scale : bf16
    linalg.yield %0 : bf16
  } -> tensor<4xbf16>
  return %y : tensor<4xbf16>
}
