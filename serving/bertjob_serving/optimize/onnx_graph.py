"""
The model as an ONNX graph for ONNX Runtime, built straight from its tensors: no tracing, no torch.

The same encoder as ``graph`` builds for OpenVINO, in ONNX Runtime's own fused operations where they are faster: attention of
all heads, residual sum with normalization, bias with GELU, and the product that quantizes its input on the fly.

Shapes: B texts, S tokens, H hidden size, L labels, N heads.
Source: ONNX Runtime, docs/ContribOperators.md (domain com.microsoft); onnx/onnx, docs/Operators.md.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import onnx
from onnx import TensorProto, helper

from bertjob_serving import onnxruntime_engine
from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS, LOGITS
from bertjob_serving.optimize import onnx_gaps
from bertjob_serving.optimize.int8 import quantize_rows
from bertjob_serving.optimize.onnx_nodes import OWN, Nodes
from bertjob_serving.optimize.weights import WORDS, Array, BertConfig, Trained
from bertjob_tasks.task import Reads

_OPSET: Final = 17
"""The first with LayerNormalization."""
_IR: Final = 10
FULL: Final = 127
"""Greatest weight where products of 8 bits are added in 32."""
HALF: Final = 64
"""Greatest weight where two of them are added in 16 bits first: 2 * 255 * 64 just fits."""


class Store(Protocol):
    """How weights stand in the graph; the graph around them is the same for every precision."""

    def product(self, nodes: Nodes, name: str, x: str, values: Array) -> str:
        """Return (..., out) of ``x`` (..., in) and float32 *values* (out, in)."""
        ...

    def rows(self, nodes: Nodes, name: str, values: Array, ids: str) -> str:
        """Return float32 rows (B, S, H) of the table *values* (V, H), picked by *ids* (B, S)."""
        ...

    def tied(self, nodes: Nodes, name: str, x: str) -> str:
        """Return (..., V) of ``x`` (..., H) and the table *name*, which ``rows`` has added: it stands in the file once."""
        ...


class Float32:
    """Weights as they were trained."""

    def product(self, nodes: Nodes, name: str, x: str, values: Array) -> str:
        """Return the product with the constant."""
        return nodes.add("MatMul", f"{name}.product", x, nodes.constant(name, values.T))

    def rows(self, nodes: Nodes, name: str, values: Array, ids: str) -> str:
        """Return a gather from the constant table."""
        return nodes.add("Gather", f"{name}.rows", nodes.constant(name, values), ids)

    def tied(self, nodes: Nodes, name: str, x: str) -> str:
        """Return the product with the turned table; ONNX Runtime turns it once, when it loads the model."""
        return nodes.add("MatMul", f"{name}.product", x, nodes.add("Transpose", f"{name}.turned", name, perm=[1, 0]))


class Int8:
    """
    Weights as int8 with one scale per output channel, embeddings with one per row; activations quantized on the fly.

    Args:
        largest: greatest weight: ``FULL``, or ``HALF`` for CPUs without VNNI.
        is_tied: the table of word embeddings is the output layer's matrix too, and keeps to *largest* as well.

    """

    def __init__(self, *, largest: int, is_tied: bool = False) -> None:
        self._largest, self._is_tied = largest, is_tied

    def product(self, nodes: Nodes, name: str, x: str, values: Array) -> str:
        """Return the product with the input quantized to 8 bits over its own range."""
        whole, scales = quantize_rows(values, largest=self._largest)
        weight, factors = nodes.constant(name, whole.T), nodes.constant(f"{name}.scales", scales[:, 0])
        return nodes.add("DynamicQuantizeMatMul", f"{name}.product", x, weight, factors, own=True)

    def rows(self, nodes: Nodes, name: str, values: Array, ids: str) -> str:
        """Return the scaled rows: picked as int8 first, so that the table is never held as float32."""
        whole, scales = quantize_rows(values, largest=self._largest if self._is_tied else FULL)
        picked = nodes.add("Gather", f"{name}.rows", nodes.constant(name, whole), ids)
        factors = nodes.add("Gather", f"{name}.factors", nodes.constant(f"{name}.scales", scales), ids)
        wide = nodes.add("Cast", f"{name}.float", picked, to=TensorProto.FLOAT)
        return nodes.add("Mul", f"{name}.scaled", wide, factors)

    def tied(self, nodes: Nodes, name: str, x: str) -> str:
        """Return the product with the turned table, its input quantized to 8 bits over its own range."""
        weight = nodes.add("Transpose", f"{name}.turned", name, perm=[1, 0])
        factors = nodes.add("Squeeze", f"{name}.turned.scales", f"{name}.scales", nodes.whole(f"{name}.axis", 1))
        return nodes.add("DynamicQuantizeMatMul", f"{name}.product", x, weight, factors, own=True)


def build(
    trained: Trained, *, store: Store, reads: Reads = "first", sep_id: int | None = None, mask_id: int | None = None
) -> onnx.ModelProto:
    """
    Return the model: ``input_ids`` and ``attention_mask`` (B, S) int32 to ``logits`` float32; arguments as in ``graph.build``.

    Raises:
        ValueError: a tensor is missing or has another shape than the configuration says.

    """
    graph, takes_first = _Graph(trained, store), reads in ("first", "cls")
    hidden = graph.embed(sep_id=sep_id)
    for index in range(trained.config.layers):
        hidden = graph.layer(index, hidden, only_cls=takes_first and index == trained.config.layers - 1)
    if takes_first:
        hidden = graph.cls(hidden)
    if reads == "mean":
        hidden = graph.total(hidden)
    if reads in ("mean", "cls"):
        graph.of_length_one(hidden)
    elif mask_id is not None:
        graph.fill(hidden, mask_id)
    else:
        graph.classify(graph.pool(hidden) if reads == "first" else hidden)
    return graph.model(("B", "L") if takes_first or reads == "mean" else ("B", "S", "L"))


def save(model: onnx.ModelProto, folder: Path) -> None:
    """Write ``model.onnx`` to *folder*; the same model gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / onnxruntime_engine.WEIGHTS).write_bytes(model.SerializeToString(deterministic=True))


class _Graph:
    """Blocks of the encoder over one model's tensors."""

    def __init__(self, trained: Trained, store: Store) -> None:
        self._config: BertConfig = trained.config
        self._trained, self._store, self._nodes = trained, store, Nodes()

    def embed(self, *, sep_id: int | None) -> str:
        """Return the normalized sum of word, position and type embeddings (B, S, H); *sep_id* as in ``build``."""
        base, width, add = "bert.embeddings", self._config.hidden_size, self._nodes.add
        words = self._trained.tensor(WORDS, None, width)
        positions = self._trained.tensor(f"{base}.position_embeddings.weight", self._config.max_positions, width)
        types = self._trained.tensor(f"{base}.token_type_embeddings.weight", None, width)
        rows = self._store.rows(self._nodes, f"{base}.word_embeddings", words, self._row_numbers())
        table = self._nodes.constant(f"{base}.positions", positions + types[0])
        shape = add("Shape", f"{base}.length", INPUT_IDS, start=1)
        start = self._nodes.whole(f"{base}.start", 0)
        used = add("Slice", f"{base}.used", table, start, shape, start)
        vectors = add("Add", f"{base}.sum", rows, used)
        if sep_id is not None:
            second = self._second(sep_id)
            step = self._nodes.constant(f"{base}.types", (types[1] - types[0])[None, None, :])
            vectors = add("Add", f"{base}.typed", vectors, add("Mul", f"{base}.second.types", second, step))
        return add(
            "LayerNormalization",
            f"{base}.LayerNorm",
            vectors,
            *self._norm_weights(f"{base}.LayerNorm"),
            epsilon=self._config.layer_norm_eps,
        )

    def _row_numbers(self) -> str:
        """Return the rows (B, S) of the word embeddings that token ids have."""
        base, rows = "bert.embeddings.vocabulary", self._trained.word_rows
        if rows is None:
            return INPUT_IDS
        return self._nodes.add("Gather", f"{base}.rows", self._nodes.constant(base, rows), INPUT_IDS)

    def _second(self, sep_id: int) -> str:
        """Return (B, S, 1): 1 for the tokens of the second text, 0 up to the first [SEP]; padding may have either."""
        nodes, add = self._nodes, self._nodes.add
        found = add("Equal", "pair.found", INPUT_IDS, nodes.scalar("pair.sep", np.int32(sep_id)))
        counts = add("Cast", "pair.counts", found, to=TensorProto.FLOAT)
        axis = nodes.scalar("pair.axis", np.int64(1))
        before = add("CumSum", "pair.before", counts, axis, exclusive=1)
        bounds = (nodes.scalar(f"pair.{value}", np.float32(value)) for value in (0, 1))
        return add("Unsqueeze", "pair.types", add("Clip", "pair.second", before, *bounds), nodes.whole("pair.last", 2))

    def layer(self, index: int, hidden: str, *, only_cls: bool) -> str:
        """Return the hidden states after one encoder layer, (B, S, H), or (B, 1, H) for [CLS] alone."""
        base, add = f"bert.encoder.layer.{index}", self._nodes.add
        queried = hidden
        if only_cls:
            first, second = (self._nodes.whole(f"{base}.cls.{name}", at) for name, at in (("from", 0), ("to", 1)))
            queried = add("Slice", f"{base}.cls.states", hidden, first, second, second)
        context = self._attention(f"{base}.attention.self", queried, hidden)
        hidden = self._residual(f"{base}.attention.output", context, queried)
        wide = self._product(f"{base}.intermediate.dense", hidden)
        bias = self._bias(f"{base}.intermediate.dense")
        active = _ACTIVATIONS[self._config.activation](self._nodes, f"{base}.intermediate.activation", wide, bias)
        return self._residual(f"{base}.output", active, hidden)

    def cls(self, hidden: str) -> str:
        """Return the states (B, H) of [CLS] (B, 1, H)."""
        return self._nodes.add("Squeeze", "cls", hidden, self._nodes.whole("cls.axis", 1))

    def pool(self, cls: str) -> str:
        """Return the pooled states (B, H) of [CLS] (B, H)."""
        return self._nodes.add("Tanh", "bert.pooler.tanh", self._linear("bert.pooler.dense", cls))

    def total(self, hidden: str) -> str:
        """Return the sum (B, H) of the tokens' states, which has the direction of their mean."""
        add = self._nodes.add
        kept = add("Cast", "mean.float", ATTENTION_MASK, to=TensorProto.FLOAT)
        mask = add("Unsqueeze", "mean.mask", kept, self._nodes.whole("mean.last", 2))
        masked = add("Mul", "mean.masked", hidden, mask)
        return add("ReduceSum", "mean.total", masked, self._nodes.whole("mean.axes", 1), keepdims=0)

    def of_length_one(self, x: str) -> None:
        """Add the vectors (B, H) of length 1 as what is answered."""
        self._nodes.add("LpNormalization", LOGITS, x, axis=-1, p=2)

    def classify(self, x: str) -> None:
        """Add the logits (..., L) of states (..., H): hidden layers of the head if any, output."""
        index = 0
        while f"head.{index}.weight" in self._trained.tensors:
            product, bias = self._product(f"head.{index}", x), self._bias(f"head.{index}")
            x = self._nodes.add("BiasGelu", f"head.{index}.activation", product, bias, own=True)
            index += 1
        self._nodes.add("Identity", LOGITS, self._linear(self._trained.output, x))

    def fill(self, hidden: str, mask_id: int) -> None:
        """Add the likeliest words of the gaps among states (B, S, H) as what is answered."""
        nodes, base = self._nodes, "cls.predictions"
        found = onnx_gaps.find(nodes, mask_id)
        product = self._product(f"{base}.transform.dense", onnx_gaps.picked(nodes, hidden, found))
        activate = _ACTIVATIONS[self._config.activation]
        x = activate(nodes, f"{base}.transform.activation", product, self._bias(f"{base}.transform.dense"))
        norm, epsilon = f"{base}.transform.LayerNorm", self._config.layer_norm_eps
        x = nodes.add("LayerNormalization", norm, x, *self._norm_weights(norm), epsilon=epsilon)
        bias = nodes.constant(f"{base}.bias", self._trained.tensor(f"{base}.bias", None))
        words = self._store.tied(nodes, "bert.embeddings.word_embeddings", x)
        onnx_gaps.likeliest(nodes, nodes.add("Add", f"{base}.logits", words, bias), found)

    def model(self, outputs: tuple[str, ...]) -> onnx.ModelProto:
        """Return the finished model whose logits have the dimensions *outputs*."""
        inputs = [
            helper.make_tensor_value_info(name, TensorProto.INT32, ["B", "S"]) for name in (INPUT_IDS, ATTENTION_MASK)
        ]
        logits = helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, list(outputs))
        graph = helper.make_graph(self._nodes.nodes, "bert-classifier", inputs, [logits], self._nodes.constants)
        versions = [helper.make_opsetid("", _OPSET), helper.make_opsetid(OWN, 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=_IR, producer_name="bertjob")

    def _attention(self, base: str, queried: str, hidden: str) -> str:
        names = ("query", "key", "value")
        if queried == hidden:
            query, key, value = self._joined(base, names, hidden)
        else:
            query = self._linear(f"{base}.query", queried)
            key, value = self._joined(base, names[1:], hidden)
        return self._nodes.add(
            "MultiHeadAttention",
            f"{base}.context",
            *(query, key, value, "", ATTENTION_MASK),
            own=True,
            num_heads=self._trained.layer_heads(base),
        )

    def _joined(self, base: str, names: tuple[str, ...], x: str) -> tuple[str, ...]:
        """Return several products of the same input, computed as one."""
        weight, bias = self._trained.joined(base, names)
        name = f"{base}.{'_'.join(names)}"
        product = self._store.product(self._nodes, f"{name}.weight", x, weight)
        joined = self._nodes.add("Add", name, product, self._nodes.constant(f"{name}.bias", bias))
        parts = [f"{base}.{part}" for part in names]
        self._nodes.nodes.append(helper.make_node("Split", [joined], parts, name=f"{name}.split", axis=2))
        return tuple(parts)

    def _residual(self, base: str, x: str, before: str) -> str:
        """Return the normalized sum of a linear layer of *x* and of what came *before*."""
        product = self._product(f"{base}.dense", x)
        inputs = (product, before, *self._norm_weights(f"{base}.LayerNorm"), self._bias(f"{base}.dense"))
        return self._nodes.add(
            "SkipLayerNormalization", f"{base}.LayerNorm", *inputs, own=True, epsilon=self._config.layer_norm_eps
        )

    def _linear(self, base: str, x: str) -> str:
        return self._nodes.add("Add", base, self._product(base, x), self._bias(base))

    def _product(self, base: str, x: str) -> str:
        return self._store.product(self._nodes, f"{base}.weight", x, self._trained.tensor(f"{base}.weight", None, None))

    def _bias(self, base: str) -> str:
        return self._nodes.constant(f"{base}.bias", self._trained.tensor(f"{base}.bias", None))

    def _norm_weights(self, base: str) -> tuple[str, str]:
        size = self._config.hidden_size
        weight, bias = (self._trained.tensor(f"{base}.{part}", size) for part in ("weight", "bias"))
        return self._nodes.constant(f"{base}.weight", weight), self._nodes.constant(f"{base}.bias", bias)


_ACTIVATIONS: Final[Mapping[str, Callable[[Nodes, str, str, str], str]]] = {
    "gelu": lambda nodes, name, x, bias: nodes.add("BiasGelu", name, x, bias, own=True),
    "gelu_new": lambda nodes, name, x, bias: nodes.add("FastGelu", name, x, bias, own=True),
    "gelu_pytorch_tanh": lambda nodes, name, x, bias: nodes.add("FastGelu", name, x, bias, own=True),
    "relu": lambda nodes, name, x, bias: nodes.add("Relu", name, nodes.add("Add", f"{name}.sum", x, bias)),
}
