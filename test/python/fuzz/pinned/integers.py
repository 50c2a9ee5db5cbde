"""Programs on integers that failed once, as the fuzzer's log has them."""

from __future__ import annotations

from fuzz.elements import Data, Tensor
from fuzz.program import (
    Argument,
    Body,
    Concat,
    Constant,
    Empty,
    Fill,
    Generic,
    Pad,
    Program,
    Scalar,
)

PROGRAMS: tuple[Program, ...] = (
    # 8-bit integers are summed in 32.
    Program(
        (
            Constant(Tensor((1, 9, 15, 4, 4), "i8"), (), Data("splat", value=1.0)),
            Constant(Tensor((4, 4, 3, 2, 4), "i8"), (), Data("special", 693)),
            Fill(Tensor((1, 3, 5, 4, 4), "i32"), (), -1.0),
            Generic(
                Tensor((1, 3, 5, 4, 4), "i32"),
                (0, 1, 2),
                True,
                (1, 3, 5, 4, 4, 3, 2, 4),
                ("parallel", "parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("+", ("*", ("d", 1), ("c", 2)), ("*", ("d", 5), ("c", 2))),
                        ("+", ("*", ("d", 2), ("c", 3)), ("*", ("d", 6), ("c", 2))),
                        ("d", 3),
                        ("d", 7),
                    ),
                    (("d", 3), ("d", 4), ("d", 5), ("d", 6), ("d", 7)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3), ("d", 4)),
                ),
                Body(
                    (
                        Scalar("arith.extsi", "i32", (0,)),
                        Scalar("arith.extsi", "i32", (1,)),
                        Scalar("arith.muli", "i32", (3, 4)),
                        Scalar("arith.addi", "i32", (2, 5)),
                    )
                ),
                (
                    "linalg.conv_2d_nhwgc_gfhwc",
                    " {dilations = dense<[2, 2]> : tensor<2xi64>, strides = dense<[2, 3]> : tensor<2xi64>}",
                ),
            ),
        ),
        (),
        (3,),
    ),
    # Pooling of integers.
    Program(
        (
            Argument(Tensor((2, 4, 11, 5), "i8"), (), Data("small", 776)),
            Fill(Tensor((2, 4, 3, 3), "i8"), (), 0.0),
            Empty(Tensor((3, 3), "i8"), ()),
            Generic(
                Tensor((2, 4, 3, 3), "i8"),
                (0, 2, 1),
                True,
                (2, 4, 3, 3, 3, 3),
                ("parallel", "parallel", "parallel", "parallel", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("d", 1),
                        ("+", ("*", ("d", 2), ("c", 3)), ("*", ("d", 4), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 1)), ("*", ("d", 5), ("c", 1))),
                    ),
                    (("d", 4), ("d", 5)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.addi", "i8", (2, 0)),)),
                (
                    "linalg.pooling_nchw_sum",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[3, 1]> : tensor<2xi64>}",
                ),
            ),
        ),
        (0,),
        (3,),
    ),
    # An 8-bit convolution with an 8-bit result.
    Program(
        (
            Constant(Tensor((5, 3, 2), "i8"), (), Data("real", 24)),
            Argument(Tensor((1, 5, 9, 8), "i8"), (), Data("special", 972)),
            Argument(Tensor((1, 5, 3, 4), "i8"), (), Data("small", 859)),
            Generic(
                Tensor((1, 5, 3, 4), "i8"),
                (1, 0, 2),
                True,
                (1, 5, 3, 4, 3, 2),
                ("parallel", "parallel", "parallel", "parallel", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("d", 1),
                        ("+", ("*", ("d", 2), ("c", 2)), ("*", ("d", 4), ("c", 2))),
                        ("+", ("*", ("d", 3), ("c", 2)), ("*", ("d", 5), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.muli", "i8", (0, 1)), Scalar("arith.addi", "i8", (2, 3)))),
                (
                    "linalg.depthwise_conv_2d_nchw_chw",
                    " {dilations = dense<[2, 1]> : tensor<2xi64>, strides = dense<[2, 2]> : tensor<2xi64>}",
                ),
            ),
            Constant(Tensor((1, 5, 3, 4), "i8"), (), Data("small", 716)),
            Concat(Tensor((1, 5, 3, 8), "i8"), (3, 4), 3),
        ),
        (1, 2),
        (5,),
    ),
    # A depthwise convolution of codes with an initial value.
    Program(
        (
            Constant(Tensor((3, 17, 5, 11), "i8"), (), Data("whole", 197)),
            Generic(
                Tensor((3, 17, 5, 11), "i32"),
                (0,),
                False,
                (3, 17, 5, 11),
                ("parallel", "parallel", "parallel", "parallel"),
                ((("d", 0), ("d", 1), ("d", 2), ("d", 3)), (("d", 0), ("d", 1), ("d", 2), ("d", 3))),
                Body((Scalar("arith.extui", "i32", (0,)),)),
            ),
            Constant(Tensor((17, 5, 5), "i8"), (), Data("rows", 334)),
            Generic(
                Tensor((17, 5, 5), "i32"),
                (2,),
                False,
                (17, 5, 5),
                ("parallel", "parallel", "parallel"),
                ((("d", 0), ("d", 1), ("d", 2)), (("d", 0), ("d", 1), ("d", 2))),
                Body((Scalar("arith.extsi", "i32", (0,)),)),
            ),
            Fill(Tensor((3, 17, 1, 3), "i32"), (), -1.0),
            Generic(
                Tensor((3, 17, 1, 3), "i32"),
                (1, 3, 4),
                True,
                (3, 17, 1, 3, 5, 5),
                ("parallel", "parallel", "parallel", "parallel", "reduction", "reduction"),
                (
                    (
                        ("d", 0),
                        ("d", 1),
                        ("+", ("*", ("d", 2), ("c", 1)), ("*", ("d", 4), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 3)), ("*", ("d", 5), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.muli", "i32", (0, 1)), Scalar("arith.addi", "i32", (2, 3)))),
                (
                    "linalg.depthwise_conv_2d_nchw_chw",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[1, 3]> : tensor<2xi64>}",
                ),
            ),
            Argument(Tensor((1, 20, 1, 3), "i32"), (), Data("real", 426)),
            Argument(Tensor((2, 20, 3, 3), "i32"), (), Data("small", 819)),
            Argument(Tensor((1, 17, 1, 3), "i32"), (), Data("small", 632)),
            Generic(
                Tensor((1, 17, 1, 3), "i32"),
                (5, 6, 7, 8),
                True,
                (1, 17, 1, 3),
                ("parallel", "parallel", "parallel", "parallel"),
                (
                    (("*", ("d", 0), ("c", 3)), ("d", 1), ("d", 2), ("d", 3)),
                    (("d", 0), ("+", ("d", 1), ("c", 3)), ("d", 2), ("d", 3)),
                    (("+", ("d", 0), ("c", 1)), ("+", ("d", 1), ("c", 3)), ("+", ("d", 2), ("c", 2)), ("d", 3)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.addi", "i32", (0, 1)), Scalar("arith.addi", "i32", (4, 2)))),
            ),
        ),
        (6, 7, 8),
        (9,),
    ),
    # The initial value of a convolution is an argument, which is returned, too.
    Program(
        (
            Argument(Tensor((1, 2, 10), "i32"), (), Data("small", 1)),
            Constant(Tensor((1, 10, 18), "i32"), (), Data("small", 507)),
            Argument(Tensor((1, 1, 18), "i32"), (), Data("small", 270)),
            Generic(
                Tensor((1, 1, 18), "i32"),
                (0, 1, 2),
                True,
                (1, 1, 18, 1, 10),
                ("parallel", "parallel", "parallel", "reduction", "reduction"),
                (
                    (("d", 0), ("+", ("*", ("d", 1), ("c", 2)), ("*", ("d", 3), ("c", 1))), ("d", 4)),
                    (("d", 3), ("d", 4), ("d", 2)),
                    (("d", 0), ("d", 1), ("d", 2)),
                ),
                Body((Scalar("arith.muli", "i32", (0, 1)), Scalar("arith.addi", "i32", (2, 3)))),
                (
                    "linalg.conv_1d_nwc_wcf",
                    " {dilations = dense<[1]> : tensor<1xi64>, strides = dense<[2]> : tensor<1xi64>}",
                ),
            ),
        ),
        (2, 0),
        (2, 3),
    ),
    # A filled tensor of one element is read beside channels in blocks: iree-compile fails on its packing.
    Program(
        (
            Argument(Tensor((2, 20, 11, 13), "i32"), (), Data("small", 2)),
            Argument(Tensor((1, 20, 2, 3), "i32"), (), Data("small", 4)),
            Argument(Tensor((2, 1, 10, 4), "i32"), (), Data("small", 6)),
            Generic(
                Tensor((2, 1, 10, 4), "i32"),
                (0, 1, 2),
                True,
                (2, 1, 10, 4, 20, 2, 3),
                ("parallel",) * 4 + ("reduction",) * 3,
                (
                    (
                        ("d", 0),
                        ("d", 4),
                        ("+", ("*", ("d", 2), ("c", 1)), ("*", ("d", 5), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 3)), ("*", ("d", 6), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5), ("d", 6)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.muli", "i32", (0, 1)), Scalar("arith.addi", "i32", (2, 3)))),
                (
                    "linalg.conv_2d_nchw_fchw",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[1, 3]> : tensor<2xi64>}",
                ),
            ),
            Fill(Tensor((1,), "i32"), (), -1.0),
            Generic(
                Tensor((1, 10, 1, 4), "i32"),
                (3, 4),
                False,
                (1, 1, 10, 4),
                ("parallel",) * 4,
                (
                    (("*", ("d", 0), ("c", 3)), ("+", ("d", 1), ("c", 0)), ("d", 2), ("d", 3)),
                    (("d", 1),),
                    (("d", 0), ("d", 2), ("d", 1), ("d", 3)),
                ),
                Body((Scalar("arith.subi", "i32", (0, 1)), Scalar("arith.muli", "i32", (3, 3)))),
            ),
        ),
        (2, 1, 0),
        (5,),
    ),
    # Two results that begin with the same zeros (rows that are all padding): they are not in each other's memory.
    Program(
        (
            Argument(Tensor((3, 2, 11, 11), "i32"), (), Data("small", 1)),
            Pad(Tensor((3, 2, 13, 13), "i32"), (0,), (0, 0, 1, 2), (0, 0, 1, 0), 0.0),
            Argument(Tensor((1, 2, 1, 3), "i32"), (), Data("small", 4)),
            Fill(Tensor((3, 1, 5, 4), "i32"), (), 0.0),
            Generic(
                Tensor((3, 1, 5, 4), "i32"),
                (1, 2, 3),
                True,
                (3, 1, 5, 4, 2, 1, 3),
                ("parallel",) * 4 + ("reduction",) * 3,
                (
                    (
                        ("d", 0),
                        ("d", 4),
                        ("+", ("*", ("d", 2), ("c", 3)), ("*", ("d", 5), ("c", 1))),
                        ("+", ("*", ("d", 3), ("c", 3)), ("*", ("d", 6), ("c", 1))),
                    ),
                    (("d", 1), ("d", 4), ("d", 5), ("d", 6)),
                    (("d", 0), ("d", 1), ("d", 2), ("d", 3)),
                ),
                Body((Scalar("arith.muli", "i32", (0, 1)), Scalar("arith.addi", "i32", (2, 3)))),
                (
                    "linalg.conv_2d_nchw_fchw",
                    " {dilations = dense<[1, 1]> : tensor<2xi64>, strides = dense<[3, 3]> : tensor<2xi64>}",
                ),
            ),
            Constant(Tensor((4,), "i32"), (), Data("small", 794)),
            Generic(
                Tensor((3, 1, 5, 4), "i32"),
                (4, 5),
                False,
                (3, 1, 5, 4),
                ("parallel",) * 4,
                ((("d", 0), ("d", 1), ("d", 2), ("d", 3)), (("d", 3),), (("d", 0), ("d", 1), ("d", 2), ("d", 3))),
                Body((Scalar("arith.muli", "i32", (0, 1)),)),
            ),
        ),
        (2, 0),
        (6, 4),
    ),
)
