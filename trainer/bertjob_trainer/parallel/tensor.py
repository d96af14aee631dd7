"""
Tensor parallelism: each process computes some attention heads and some columns of the feed-forward layers.

Embeddings, LayerNorm and the task's head stay whole in every process: they get the same gradient everywhere, and their work is
small. Two sums forward and two backward in each layer.

Source: Shoeybi et al. 2019 (arXiv:1909.08053), by torch's ``parallelize_module``.
"""

from typing import Any

from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, PrepareModuleInput, RowwiseParallel, parallelize_module


def cut(model: Any, mesh: Any) -> None:
    """Cut the layers of *model* in place along a mesh of one dimension."""
    for layer in model.bert.encoder.layer:
        # One sum of the three gradients of a layer's input, not one each.
        entry = PrepareModuleInput(
            input_layouts=(Replicate(), Replicate(), None), desired_input_layouts=(Replicate(), Replicate(), None)
        )
        plan = {
            "attention.self": entry,
            "attention.self.query": ColwiseParallel(input_layouts=Replicate()),
            "attention.self.key": ColwiseParallel(input_layouts=Replicate()),
            "attention.self.value": ColwiseParallel(input_layouts=Replicate()),
            "attention.output.dense": RowwiseParallel(),
            "intermediate.dense": ColwiseParallel(),
            "output.dense": RowwiseParallel(),
        }
        parallelize_module(layer, mesh, plan)
        attention = layer.attention.self
        attention.share = (mesh.get_local_rank(), mesh.size())
        attention.num_heads //= mesh.size()
