"""Programs on floating-point numbers that failed once, as the fuzzer's log has them."""

from __future__ import annotations

from fuzz.elements import Data, Tensor
from fuzz.program import (
    Argument,
    Body,
    Constant,
    Fill,
    Generic,
    Pack,
    Program,
    Scalar,
    Slice,
    Transpose,
    Unpack,
)

PROGRAMS: tuple[Program, ...] = (
    # A reduction of every loop.
    Program(
        (
            Argument(Tensor((31,), "f32"), (), Data("small", 17)),
            Constant(Tensor((31,), "f32"), (), Data("small", 228)),
            Constant(Tensor((1,), "f32"), (), Data("splat", value=0.25)),
            Generic(
                Tensor((1,), "f32"),
                (0, 1, 2),
                True,
                (31,),
                ("reduction",),
                ((("d", 0),), (("+", ("*", ("d", 0), ("c", -1)), ("c", 30)),), (("c", 0),)),
                Body((Scalar("arith.mulf", "f32", (0, 1)),)),
            ),
        ),
        (0,),
        (3,),
    ),
    # An element-wise operation on a fill.
    Program(
        (
            Constant(Tensor((1, 1), "f32"), (), Data("small", 711)),
            Fill(Tensor((1,), "f32"), (), 3.0),
            Generic(
                Tensor((1, 1), "f32"),
                (0, 1),
                False,
                (1, 1),
                ("parallel", "parallel"),
                ((("d", 0), ("d", 1)), (("d", 0),), (("d", 0), ("d", 1))),
                Body((Scalar("arith.subf", "f32", (1, 0)),)),
            ),
        ),
        (),
        (2,),
    ),
    # A grouped convolution that no packed form takes.
    Program(
        (
            Fill(Tensor((1, 9, 7, 3, 3), "f16"), (), 3.0),
            Argument(Tensor((3, 2, 5, 2, 3), "f16"), (), Data("small", 27)),
            Fill(Tensor((1, 5, 3, 3, 2), "f16"), (), 0.0),
            Generic(
                Tensor((1, 5, 3, 3, 2), "f16"),
                (0, 1, 2),
                True,
                (1, 5, 3, 3, 2, 5, 2, 3),
                ("parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("+", ("*", ("d", 1), ("c", 1)), ("*", ("d", 5), ("c", 1))),
                        ("+", ("*", ("d", 2), ("c", 2)), ("*", ("d", 6), ("c", 1))),
                        ("d", 3),
                        ("d", 7),
                    ),
                    (("d", 3), ("d", 4), ("d", 5), ("d", 6), ("d", 7)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3), ("d", 4)),
                ),
                Body((Scalar("arith.mulf", "f16", (0, 1)), Scalar("arith.addf", "f16", (2, 3)))),
                (
                    "linalg.conv_2d_nhwgc_gfhwc",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[1, 2]> : tensor<2xi64>}",
                ),
            ),
        ),
        (1,),
        (3,),
    ),
    # A dot product of a fill.
    Program(
        (
            Fill(Tensor((1, 3, 16, 8), "bf16"), (), 0.0),
            Argument(Tensor((3, 3, 4, 16), "bf16"), (), Data("sparse", 912)),
            Fill(Tensor((3, 3, 2, 8), "f32"), (), 0.0),
            Generic(
                Tensor((3, 3, 2, 8), "f32"),
                (1, 0, 2),
                True,
                (3, 3, 2, 8, 1, 3, 16),
                ("parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("+", ("*", ("d", 1), ("c", 1)), ("*", ("d", 4), ("c", 1))),
                        ("+", ("*", ("d", 2), ("c", 1)), ("*", ("d", 5), ("c", 1))),
                        ("d", 6),
                    ),
                    (("d", 4), ("d", 5), ("d", 6), ("d", 3)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body(
                    (
                        Scalar("arith.extf", "f32", (0,)),
                        Scalar("arith.extf", "f32", (1,)),
                        Scalar("arith.mulf", "f32", (3, 4)),
                        Scalar("arith.addf", "f32", (2, 5)),
                    )
                ),
                (
                    "linalg.conv_2d_nhwc_hwcf",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[1, 1]> : tensor<2xi64>}",
                ),
            ),
        ),
        (1,),
        (3,),
    ),
    # A value that only the last iterations of two loops leave.
    Program(
        (
            Constant(Tensor((32, 2, 3, 3), "f32"), (), Data("small", 370)),
            Constant(Tensor((2, 2, 9, 9), "f32"), (), Data("small", 969)),
            Fill(Tensor((2, 32, 5, 3), "f32"), (), 0.0),
            Generic(
                Tensor((2, 32, 5, 3), "f32"),
                (1, 0, 2),
                True,
                (2, 32, 5, 3, 2, 3, 3),
                ("parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("d", 4),
                        ("+", ("*", ("d", 2), ("c", 1)), ("*", ("d", 5), ("c", 2))),
                        ("+", ("*", ("d", 3), ("c", 2)), ("*", ("d", 6), ("c", 2))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5), ("d", 6)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.mulf", "f32", (0, 1)), Scalar("arith.addf", "f32", (2, 3)))),
                (
                    "linalg.conv_2d_nchw_fchw",
                    " {dilations = dense<[2, 2]> : tensor<2xi64>, strides = dense<[1, 2]> : tensor<2xi64>}",
                ),
            ),
            Constant(Tensor((1, 32, 5, 3), "f32"), (), Data("small", 536)),
            Fill(Tensor((1, 3), "f16"), (), 0.0),
            Generic(
                Tensor((1, 3), "f16"),
                (3, 4, 5),
                True,
                (1, 32, 5, 3),
                ("parallel", "reduction", "reduction", "parallel"),
                (
                    (("*", ("d", 0), ("c", 3)), ("d", 1), ("d", 2), ("d", 3)),
                    (
                        ("+", ("*", ("d", 0), ("c", -1)), ("c", 0)),
                        ("+", ("*", ("d", 1), ("c", -1)), ("c", 31)),
                        ("d", 2),
                        ("+", ("*", ("d", 3), ("c", -1)), ("c", 2)),
                    ),
                    (("d", 0), ("d", 3)),
                ),
                Body((Scalar("arith.truncf", "f16", (0,)), Scalar("math.absf", "f16", (3,)))),
            ),
            Argument(Tensor((3, 1), "f16"), (), Data("small", 227)),
            Transpose(Tensor((1, 3), "f16"), (7,), (1, 0)),
            Generic(
                Tensor((1, 3), "f16"),
                (6, 8),
                False,
                (1, 3),
                ("parallel", "parallel"),
                ((("d", 0), ("d", 1)), (("d", 0), ("d", 1)), (("d", 0), ("d", 1))),
                Body(
                    (
                        Scalar("constant", "f16", attr=0.5),
                        Scalar("math.fma", "f16", (0, 1, 3)),
                        Scalar("arith.mulf", "f16", (4, 4)),
                    )
                ),
            ),
            Generic(
                Tensor((1, 3), "f16"),
                (9, 8),
                False,
                (1, 3),
                ("parallel", "parallel"),
                ((("d", 0), ("d", 1)), (("d", 0), ("d", 1)), (("d", 0), ("d", 1))),
                Body(
                    (
                        Scalar("arith.addf", "f16", (0, 1)),
                        Scalar("constant", "f16", attr=1.0),
                        Scalar("constant", "f16", attr=1.0),
                        Scalar("constant", "f16", attr=4.0),
                        Scalar("arith.minimumf", "f16", (3, 6)),
                        Scalar("constant", "f16", attr=-8.0),
                        Scalar("arith.maximumf", "f16", (7, 8)),
                        Scalar("arith.negf", "f16", (9,)),
                        Scalar("math.exp", "f16", (10,)),
                        Scalar("arith.addf", "f16", (5, 11)),
                        Scalar("arith.divf", "f16", (4, 12)),
                        Scalar("constant", "f16", attr=0.5),
                        Scalar("arith.maximumf", "f16", (13, 14)),
                    )
                ),
            ),
            Pack(Tensor((1, 1, 16, 4), "f16"), (10,), (1, 0), (16, 4), (), 0.0),
            Unpack(Tensor((1, 3), "f16"), (11,), (1, 0), (16, 4), ()),
        ),
        (7,),
        (12, 3),
    ),
    # Sparse weights, and an image that is filled with one number.
    Program(
        (
            Fill(Tensor((2, 24, 22, 8), "f32"), (), 1.0),
            Constant(Tensor((5, 24, 1, 2), "f32"), (), Data("rows", 850)),
            Fill(Tensor((2, 5, 8, 7), "f32"), (), 0.0),
            Generic(
                Tensor((2, 5, 8, 7), "f32"),
                (0, 1, 2),
                True,
                (2, 5, 8, 7, 24, 1, 2),
                ("parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("d", 4),
                        ("+", ("*", ("d", 2), ("c", 3)), ("*", ("d", 5), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 1)), ("*", ("d", 6), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5), ("d", 6)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.mulf", "f32", (0, 1)), Scalar("arith.addf", "f32", (2, 3)))),
                (
                    "linalg.conv_2d_nchw_fchw",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[3, 1]> : tensor<2xi64>}",
                ),
            ),
        ),
        (),
        (3,),
    ),
    # One channel of one pixel, unpacked and then cut or packed again.
    Program(
        nodes=(
            Constant(
                type=Tensor(shape=(1, 1, 3, 3), element="f32"), inputs=(), data=Data(kind="small", seed=204, value=0.0)
            ),
            Constant(
                type=Tensor(shape=(1, 3, 3), element="f32"), inputs=(), data=Data(kind="real", seed=646, value=0.0)
            ),
            Fill(type=Tensor(shape=(1, 1, 1, 1), element="f32"), inputs=(), value=0.0),
            Generic(
                type=Tensor(shape=(1, 1, 1, 1), element="f32"),
                inputs=(0, 1, 2),
                initial=True,
                extents=(1, 1, 1, 1, 3, 3),
                iterators=("parallel", "parallel", "parallel", "parallel", "reduction", "reduction"),
                maps=(
                    (
                        ("d", 0),
                        ("d", 1),
                        ("+", ("*", ("d", 2), ("c", 2)), ("*", ("d", 4), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 1)), ("*", ("d", 5), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                body=Body(
                    ops=(
                        Scalar(op="arith.mulf", type="f32", args=(0, 1), attr=None),
                        Scalar(op="arith.addf", type="f32", args=(2, 3), attr=None),
                    ),
                    passed=None,
                ),
                named=(
                    "linalg.depthwise_conv_2d_nchw_chw",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[2, 1]> : tensor<2xi64>}",
                ),
            ),
            Slice(
                type=Tensor(shape=(1, 1, 1, 1), element="f32"), inputs=(3,), offsets=(0, 0, 0, 0), strides=(2, 3, 1, 1)
            ),
        ),
        arguments=(),
        results=(4,),
    ),
    Program(
        nodes=(
            Argument(
                type=Tensor(shape=(1, 3, 1, 1), element="bf16"), inputs=(), data=Data(kind="small", seed=1, value=0.0)
            ),
            Constant(
                type=Tensor(shape=(1, 3, 1, 1), element="bf16"), inputs=(), data=Data(kind="small", seed=724, value=0.0)
            ),
            Fill(type=Tensor(shape=(1, 1, 1, 1), element="bf16"), inputs=(), value=0.0),
            Generic(
                type=Tensor(shape=(1, 1, 1, 1), element="bf16"),
                inputs=(0, 1, 2),
                initial=True,
                extents=(1, 1, 1, 1, 3, 1, 1),
                iterators=("parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"),
                maps=(
                    (
                        ("d", 0),
                        ("d", 4),
                        ("+", ("*", ("d", 2), ("c", 3)), ("*", ("d", 5), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 1)), ("*", ("d", 6), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5), ("d", 6)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                body=Body(
                    ops=(
                        Scalar(op="arith.mulf", type="bf16", args=(0, 1), attr=None),
                        Scalar(op="arith.addf", type="bf16", args=(2, 3), attr=None),
                    ),
                    passed=None,
                ),
                named=(
                    "linalg.conv_2d_nchw_fchw",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[3, 1]> : tensor<2xi64>}",
                ),
            ),
            Pack(
                type=Tensor(shape=(1, 1, 1, 1, 8), element="bf16"),
                inputs=(3,),
                dims=(0,),
                tiles=(8,),
                permutation=(),
                value=0.0,
            ),
        ),
        arguments=(0,),
        results=(4,),
    ),
)
