"""
torch's dynamic quantization, which others are often compared with: measured beside the candidates, never served.

Source: PyTorch documentation, torch.ao.quantization.quantize_dynamic.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertjob_serving.engine import Array, Engine
from bertjob_serving.optimize.tuning import student
from bertjob_tasks.task import Reads


class Quantized(Engine):
    """A model whose linear layers torch quantizes, weights in advance and inputs on the fly; embeddings stay as they are."""

    def __init__(self, folder: Path, *, reads: Reads, sep_id: int | None, threads: int) -> None:
        if reads in ("mean", "cls"):
            raise ValueError(
                "torch: is shown for tasks with a head, embedding has none; leave it out of optimize.references"
            )
        torch.set_num_threads(threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch points to another library
            self._model: Any = torch.ao.quantization.quantize_dynamic(
                student.load(folder, reads=reads), {torch.nn.Linear}, dtype=torch.qint8
            )
        self._sep_id = sep_id

    def logits(self, ids: Array, mask: Array) -> Array:
        """See ``Engine``; *mask* must be 1 everywhere."""
        assert mask.all(), "texts of one length are asked, one at a time; this is a bug"
        data = student.dataset(ids, sep_id=self._sep_id)
        with torch.inference_mode():
            outputs, _ = student.run(self._model, data, np.arange(len(ids)))
        found: Array = outputs.numpy()
        return found

    @property
    def weights_bytes(self) -> int:
        """Return the bytes of all tensors, packed ones included."""
        total = 0
        for value in self._model.state_dict().values():
            parts = value if isinstance(value, tuple) else (value,)
            total += sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor))
        return total
