"""Operations of ONNX in its text form, each for an output of its own."""

from __future__ import annotations

# Every line is an output of its own; all are compiled together.
KINDS = {
    "average pool that rounds up": "AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x)",
    "the same over its padding": "AveragePool <kernel_shape = [3, 3], strides = [3, 3], pads = [1, 1, 0, 0],"
    " ceil_mode = 1, count_include_pad = 1> (x)",
    "average pool, SAME_LOWER": 'AveragePool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_LOWER"> (x)',
    "max pool that rounds up": "MaxPool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x)",
    "max pool, other pads at the end": "MaxPool <kernel_shape = [3, 3], pads = [0, 0, 2, 1]> (x)",
    "convolution, SAME_UPPER": 'Conv <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w)',
    "convolution, other pads at the end": "Conv <pads = [0, 1, 2, 0]> (x, w)",
    "transposed, SAME_UPPER": 'ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, t)',
    "transposed, output_shape": "ConvTranspose <strides = [2, 2], output_shape = [17, 14]> (x, t, two)",
    "transposed, other pads at the end": "ConvTranspose <strides = [2, 2], pads = [0, 1, 1, 0]> (x, t, two)",
    "transposed, groups": "ConvTranspose <group = 2, strides = [2, 2], pads = [1, 1, 1, 1]> (x, t, four)",
    "reflected": 'Pad <mode = "reflect"> (x, around)',
    "edges": 'Pad <mode = "edge"> (x, around)',
    "wrapped": 'Pad <mode = "wrap"> (x, around)',
    "vector times stack": "MatMul (vector, stack)",
    "stack times vector": "MatMul (stack, short)",
    "swish": "Mul (x, sigmoid)",
    "gelu": 'Gelu <approximate = "tanh"> (x)',
    "layer normalization": "LayerNormalization <axis = -1> (x, seven, seven)",
    "group normalization": "GroupNormalization <num_groups = 2> (x, four, four)",
    "instance normalization": "InstanceNormalization (x, four, four)",
    "mean and variance": "MeanVarianceNormalization (far)",
    "mean and variance over axes": "MeanVarianceNormalization <axes = [1, 3]> (far)",
    "cumulative sum": "CumSum (long, low_axis)",
    "cumulative sum from the end, without itself": "CumSum <reverse = 1, exclusive = 1> (long, low_axis)",
    "flipped": "Slice (x, ends, lowest, twothree, backwards)",
    "every other one from the end": "Slice (x, ends, zeros, twothree, steps)",
    "zero vector normalized": "LpNormalization <axis = 1> (nought)",
    "determinant without a first pivot": "Det (swapped)",
    "samples beyond the image": "GridSample (x, grid)",
    "nearest samples": 'GridSample <mode = "nearest", padding_mode = "border", align_corners = 1> (x, grid)',
    "reflected samples": 'GridSample <padding_mode = "reflection"> (x, grid)',
    "resize, corners aligned": 'Resize <mode = "linear", coordinate_transformation_mode = "align_corners">'
    " (x, , parts)",
    "resize, cubic": 'Resize <mode = "cubic", exclude_outside = 1, cubic_coeff_a = -0.5> (x, , parts)',
    "resize, antialiased": 'Resize <mode = "linear", antialias = 1> (x, , parts)',
    "resize, cropped": 'Resize <mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize">'
    " (x, roi, , sizes)",
    "resize, nearest, corners aligned": 'Resize <coordinate_transformation_mode = "align_corners"> (x, , parts)',
    "loss": "NegativeLogLikelihoodLoss (stack, labels)",
    "attention after a past": "Attention (queries, queries, queries, , past, past)",
    "resize, nearest": 'Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric",'
    ' nearest_mode = "floor"> (x, , scales)',
    "resize, linear": 'Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (x, , scales)',
    "mean over axes": "ReduceMean <keepdims = 0> (x, axes)",
    "clip": "Clip (x, low, high)",
    "einsum": 'Einsum <equation = "bij,kj->bik"> (stack, square)',
    "triangle": "Trilu <upper = 0> (x)",
    "Fourier transforms without a window": "STFT (wave, step, , frame)",
    "differences of positions": "Cast <to = 1> (apart)",
}
KINDS_MODEL = """<ir_version: 10, opset_import: ["": 23]>
kinds (float[1, 4, 7, 7] x, float[3] vector, float[2, 3, 4] stack, float[4] short, float[1, 3, 4, 2] random)
 => ({outputs})
<int64 low_axis = {{0}}, int64[2] ends = {{-1, -1}}, int64[2] lowest = {{-1000000, -1000000}},
 int64[2] twothree = {{2, 3}},
 int64[2] backwards = {{-1, -1}}, int64[2] zeros = {{0, 0}}, int64[2] steps = {{-2, -3}},
 float[2, 2] swapped = {{0.0, 1.0, 2.0, 3.0}}, float[4] parts = {{1.0, 1.0, 0.6, 0.8}}, float twice = {{2.0}},
 float[8] roi = {{0.0, 0.0, 0.2, 0.1, 1.0, 1.0, 0.9, 1.2}}, int64[4] sizes = {{1, 4, 7, 5}},
 int64[3] samples = {{1, 196, 1}}, int64 step = {{4}}, int64 frame = {{8}},
 int64 start = {{0}}, int64[1] six = {{6}}, int64 one = {{1}}, int64[1] first = {{0}}, int64[1] second = {{1}},
 int64[2, 4] labels = {{0, 1, 2, 0, 1, 1, 2, 2}},
 int64[8] around = {{0, 0, 2, 1, 0, 0, 1, 3}}, float[4] scales = {{1.0, 1.0, 2.0, 2.0}}, int64[2] axes = {{2, 3}},
 float thousand = {{1000.0}}, float low = {{-0.5}}, float high = {{0.5}}>
{{
  sigmoid = Sigmoid (x)
  far = Add (x, thousand)
  nought = Sub (x, x)
  grid = Mul (random, twice)
  wave = Reshape (x, samples)
  rows = Range (start, step, one)
  columns = Range (start, six, one)
  column = Unsqueeze (rows, second)
  row = Unsqueeze (columns, first)
  apart = Sub (column, row)
  {lines}
}}"""

# What each layer is called, its outputs that are asked for (of Y, Y_h, Y_c), and its call.
RECURRENT = {
    "gru_reverse": ("y h", 'GRU <hidden_size=4, direction="reverse"> (x, gw1, gr1, gb1, , s1)'),
    "gru_both": ("y h", 'GRU <hidden_size=4, direction="bidirectional", linear_before_reset=1> (x, gw2, gr2)'),
    "gru_last_state": ("_ h", 'GRU <hidden_size=4, direction="bidirectional"> (x, gw2, gr2, , whole, s2)'),
    "lstm_reverse": ("y h c", 'LSTM <hidden_size=4, direction="reverse"> (x, lw1, lr1, , , s1, s1)'),
    "lstm_both": ("y h c", 'LSTM <hidden_size=4, direction="bidirectional"> (x, lw2, lr2, lb2, , s2, c2)'),
    "lstm_behind": ("y h c", 'LSTM <hidden_size=4, direction="bidirectional", layout=1> (b, lw2, lr2, lb2, , t2)'),
    "lstm_cell": ("_ _ c", 'LSTM <hidden_size=4, direction="bidirectional"> (x, lw2, lr2)'),
    "rnn_both": ("y h", 'RNN <hidden_size=4, direction="bidirectional", activations=["Tanh", "Tanh"]> (x, rw2, rr2)'),
    "rnn_behind": ("y", 'RNN <hidden_size=4, direction="reverse", layout=1> (b, rw1, rr1, , , t1)'),
}
