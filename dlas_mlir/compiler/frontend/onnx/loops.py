"""Loops that a condition ends: the lowering asks for a first condition alone, and takes all steps where it holds."""

from __future__ import annotations

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, helper, numpy_helper

from dlas_mlir.compiler.frontend.onnx.graph import Graph, attributes, node
from dlas_mlir.compiler.frontend.onnx.rule import Rule, Writer, set_attributes


def _loop(graph: Graph, each: NodeProto) -> list[NodeProto] | None:
    """A Loop takes all its steps, and after the condition has failed they leave everything as it is.

    Whether it holds is one more value that the steps hand on.
    """
    steps, first, *carried = each.input
    body = attributes(each)["body"]
    assert isinstance(body, GraphProto)
    holds = graph.constant(first) if first else np.array(True)
    goes_on = _goes_on(body)
    if goes_on and holds is not None and holds.all():
        return None
    if not steps:
        if not goes_on and holds is None:
            return None  # lowered as it is
        raise ValueError(
            "a loop without a number of steps, whose first condition is known, would never end: give it one"
        )
    if len(each.output) > len(carried):
        raise ValueError("a loop that a condition ends returns as many values as it took steps, which is not supported")
    write = Writer(graph, each)
    start = first or write.constant(np.array(True), "holds")
    changed = NodeProto()
    changed.CopyFrom(each)
    set_attributes(changed, body=_patient(graph, body, len(carried)))
    changed.input[:] = [steps, write.constant(np.array(True), "always"), *carried, start]
    changed.output.append(graph.fresh(f"{each.name or each.output[0]}/held"))
    return [*write.nodes, changed]


def _goes_on(body: GraphProto) -> bool:
    """Whether no step of the body ends the loop: its condition is the one it is given, or always true."""
    name = body.output[0].name
    made = {output: each for each in body.node for output in each.output}
    while name in made and made[name].op_type == "Identity":
        name = made[name].input[0]
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in body.initializer}
    if name in made and made[name].op_type == "Constant":
        value = next((item for item in made[name].attribute if item.type == AttributeProto.TENSOR), None)
        return value is not None and bool(numpy_helper.to_array(value.t).all())
    return name == body.input[1].name or (name in constants and bool(constants[name].all()))


def _patient(graph: Graph, body: GraphProto, carried: int) -> GraphProto:
    """`body`, which changes what it hands on only while the condition held."""
    step, held, *values = body.input
    condition, *results = body.output
    made: list[NodeProto] = []
    outputs = []

    def add(op_type: str, inputs: list[str], **attribute: object) -> str:
        output = graph.fresh(f"{held.name}/{op_type}")
        made.append(node(op_type, inputs, [output], "", **attribute))
        return output

    true = add("Constant", [], value=numpy_helper.from_array(np.array(True)))
    outputs.append(helper.make_tensor_value_info(true, TensorProto.BOOL, []))
    for before, after in zip(values, results[:carried], strict=True):
        chosen = add("Where", [held.name, after.name, before.name])
        info = type(after)()
        info.CopyFrom(after)
        info.name = chosen
        outputs.append(info)
    still = add("And", [held.name, condition.name])
    outputs.append(helper.make_tensor_value_info(still, TensorProto.BOOL, []))
    unused = helper.make_tensor_value_info(graph.fresh("condition"), TensorProto.BOOL, [])
    holds = helper.make_tensor_value_info(held.name, TensorProto.BOOL, [])
    nodes = [*body.node, *made]
    return helper.make_graph(nodes, body.name, [step, unused, *values, holds], outputs, list(body.initializer))


RULES: dict[str, Rule] = {"Loop": _loop}
