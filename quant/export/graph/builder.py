"""Nodes of an ONNX graph one after the other, constants stored once, bit widths said where asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorAnnotation, TensorProto, ValueInfoProto, helper
from onnx import numpy_helper as arrays
from onnx.checker import check_model
from onnx.shape_inference import infer_shapes

OPSET = 18
"""ReduceMax takes its axes as an input from 18 on; all other operators are older."""
IR_VERSION = 8
"""The first with opset 18: older runtimes read it too."""
QUANT_DOMAIN = "qonnx.custom_op.general"
"""Where QONNX defines its ``Quant`` node."""
QUANT_VERSION = 1
WIDTH_KEY = "finn_datatype"
"""Under which QONNX's tools look for a tensor's width in the graph's quantization annotations."""


class GraphBuilder:
    """Makes a graph, node by node.

    Values are tensors by name. Arithmetic is in int64, products of matrices are in int32: both exact by
    ONNX's own definition. MatMulInteger would be shorter, but kernels behind it saturate pairs of products
    at 16 bits on processors without VNNI.

    Args:
        quant: Say bit widths by QONNX's ``Quant`` nodes, which also saturate. Without, standard operators
            alone.
    """

    def __init__(self, quant: bool) -> None:
        self.quant = quant
        self._scope = ""
        self._nodes: list[NodeProto] = []
        self._names: set[str] = set()
        self._constants: dict[str, TensorProto] = {}
        self._inputs: dict[str, ValueInfoProto] = {}
        self._widths: dict[str, str] = {}

    # ---------------------------------------------------------------------------------- values

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Within it the names of unnamed values begin with ``name``."""
        before, self._scope = self._scope, name
        yield
        self._scope = before

    def input(self, name: str, *shape: int) -> str:
        """An int64 input of the graph."""
        self._inputs[name] = helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        return name

    def constant(self, name: str, values: Any, dtype: Any = np.int64) -> str:
        """A stored array; the name that is there stands for the same values.

        Raises:
            ValueError: the name is there with other values, or a value does not fit the type.
        """
        array = np.asarray(values)
        stored = array.astype(dtype)
        if not np.array_equal(stored.astype(array.dtype), array):
            raise ValueError(f"constant {name} does not fit {np.dtype(dtype).name}")
        made = arrays.from_array(stored, name)
        if self._constants.setdefault(name, made) != made:
            raise ValueError(f"constant {name} is there with other values")
        return name

    def number(self, value: int) -> str:
        """An int64 scalar."""
        return self.constant(f"number/{value}", value)

    def op(
        self, kind: str, *inputs: str, name: str | None = None, domain: str = "", **attributes: Any
    ) -> str:
        """Adds a node of one output and returns that: ``name``, or one made of the scope.

        Raises:
            ValueError: there is a value of that name.
        """
        name = name or f"{self._scope}/{kind.lower()}.{len(self._nodes)}"
        if name in self._names:
            raise ValueError(f"there are two values of the name {name}")
        self._names.add(name)
        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def cast(self, x: str, dtype: Any, name: str | None = None) -> str:
        """``x`` as a numpy type."""
        return self.op("Cast", x, name=name, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def reshape(self, x: str, *shape: int) -> str:
        """``x`` in another shape, -1 once at most."""
        size = self.constant("shape/" + "x".join(map(str, shape)), shape)
        return self.op("Reshape", x, size)

    def reduce(self, kind: str, x: str) -> str:
        """ReduceSum or ReduceMax over the last axis, which stays as one of size 1."""
        return self.op(kind, x, self.constant("axis/last", [-1]), keepdims=1)

    def floor_divide(self, x: str, divisor: str) -> str:
        """floor(x / divisor), divisor >= 1: Div rounds towards 0, Mod's remainder has the divisor's sign."""
        return self.op("Div", self.op("Sub", x, self.op("Mod", x, divisor)), divisor)

    def matmul(self, x: str, y: str) -> str:
        """int64 product of int64 ``x`` and int32 ``y``; operands and sums fit int32."""
        return self.cast(self.op("MatMul", self.cast(x, np.int32), y), np.int64)

    def clip(self, x: str, low: int, high: int, name: str | None = None) -> str:
        """Saturation to ``low..high``."""
        return self.op("Clip", x, self.number(low), self.number(high), name=name)

    # ---------------------------------------------------------------------------------- widths

    def saturate(self, x: str, bits: int, name: str | None = None, *, narrow: bool = False) -> str:
        """Saturation of int64 ``x`` to ``bits`` bits in two's complement; ``narrow``: to ±(2^(bits-1) - 1).

        A ``Quant`` node computes in float32 and is exact all the same: what it keeps has 18 bits at most, and
        what lies beyond still does when it is rounded to 24.
        """
        if self.quant:
            return self._quant(x, bits, name, signed=True, narrow=narrow)
        top = (1 << (bits - 1)) - 1
        return self.clip(x, -top if narrow else -top - 1, top, name)

    def marked(self, x: str, bits: int, name: str | None = None, *, signed: bool = True) -> str:
        """``x``, whose integers fit ``bits`` bits, as int64: says so where widths are said."""
        if self.quant:
            return self._quant(x, bits, name, signed=signed, narrow=False)
        return self.cast(x, np.int64, name)

    def weight(self, name: str, values: np.ndarray, bits: int) -> str:
        """A stored int8 matrix in ±(2^(bits-1) - 1), as int32; made once, whoever reads it."""
        made = f"{name}.int32"
        stored = self.constant(name, values, np.int8)
        if made not in self._names:
            with self.scope(name):
                if self.quant:
                    self._quant(stored, bits, made, signed=True, narrow=True, dtype=np.int32)
                else:
                    self.cast(stored, np.int32, made)
        return made

    def _quant(
        self, x: str, bits: int, name: str | None, *, signed: bool, narrow: bool, dtype: Any = np.int64
    ) -> str:
        """Cast, Quant, Cast: QONNX's node is one of float32."""
        made = self.op(
            "Quant",
            self.cast(x, np.float32),
            self.constant("quant/scale", 1.0, np.float32),
            self.constant("quant/zero_point", 0.0, np.float32),
            self.constant(f"quant/bits.{bits}", float(bits), np.float32),
            domain=QUANT_DOMAIN,
            signed=int(signed),
            narrow=int(narrow),
            rounding_mode="ROUND",
        )
        result = self.cast(made, dtype, name)
        self._widths[made] = self._widths[result] = f"{'INT' if signed else 'UINT'}{bits}"
        return result

    # ---------------------------------------------------------------------------------- the graph

    def finish(self, name: str, outputs: Sequence[str], facts: Mapping[str, str]) -> ModelProto:
        """The whole graph, every tensor's shape said, checked by ONNX.

        Args:
            name: Of the graph.
            outputs: Values by name.
            facts: Metadata of the model.
        """
        shapes = self._shapes()
        constants = list(self._constants.values())
        graph = helper.make_graph(
            self._nodes,
            name,
            list(self._inputs.values()),
            [shapes[output] for output in outputs],
            constants,
            value_info=[info for value, info in shapes.items() if value not in outputs],
        )
        for value, width in self._widths.items():
            note = TensorAnnotation(tensor_name=value)
            note.quant_parameter_tensor_names.add(key=WIDTH_KEY, value=width)
            graph.quantization_annotation.append(note)
        model = _model(graph, self.quant)
        helper.set_model_props(model, dict(facts))
        check_model(model)
        return model

    def _shapes(self) -> dict[str, ValueInfoProto]:
        """Of every node's value: ONNX infers them with an Identity in the place of each ``Quant``."""
        nodes = [
            helper.make_node("Identity", node.input[:1], node.output) if node.domain == QUANT_DOMAIN else node
            for node in self._nodes
        ]
        last = ValueInfoProto(name=nodes[-1].output[0])
        graph = helper.make_graph(
            nodes, "shapes", list(self._inputs.values()), [last], list(self._constants.values())
        )
        inferred = infer_shapes(_model(graph, quant=False), strict_mode=True, data_prop=True).graph
        return {info.name: info for info in (*inferred.value_info, *inferred.output)}


def _model(graph: Any, quant: bool) -> ModelProto:
    domains = [helper.make_opsetid("", OPSET)]
    if quant:
        domains.append(helper.make_opsetid(QUANT_DOMAIN, QUANT_VERSION))
    return helper.make_model(graph, opset_imports=domains, ir_version=IR_VERSION, producer_name="elbert-fpga")
