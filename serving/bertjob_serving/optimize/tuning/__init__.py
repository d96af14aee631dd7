"""Weights that are reworked before they become INT8: heads and channels left out, and a short fine-tune after the FP32 model."""
