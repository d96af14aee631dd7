"""INT8 weights and activations with ranges that were measured on training texts."""

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
import openvino as ov

from bertjob_serving import cpu
from bertjob_serving.engine import ATTENTION_MASK, INPUT_IDS
from bertjob_serving.optimize.weights import Array

ALPHA: Final = 0.8
"""How much of the activations' outliers SmoothQuant moves into the weights. Source: Xiao et al. 2022 (arXiv:2211.10438)."""


def quantized(model: ov.Model, texts: Sequence[Array]) -> ov.Model:
    """
    Return the model with INT8 weights and activations.

    Args:
        model: the float32 graph.
        texts: token ids (S,) of the calibration texts, in a fixed order.

    Raises:
        ValueError: there is no text.

    """
    if not texts:
        message = "calibration: got no text, expected at least one; spec.data.train is empty"
        raise ValueError(message)
    import nncf  # noqa: PLC0415  # takes seconds to import, and only this candidate needs it

    nncf.set_log_level(logging.ERROR)
    feeds = [{INPUT_IDS: ids[None, :], ATTENTION_MASK: np.ones_like(ids[None, :])} for ids in texts]
    # Without VNNI the products of two pairs are added in 16 bits: half-range weights keep them from saturating.
    overflow = nncf.OverflowFix.DISABLE if cpu.int8_feature(cpu.features()) else nncf.OverflowFix.ENABLE
    smooth = nncf.AdvancedSmoothQuantParameters(matmul=ALPHA)
    return nncf.quantize(
        model,
        nncf.Dataset(feeds),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(feeds),
        advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=smooth, overflow_fix=overflow),
    )
