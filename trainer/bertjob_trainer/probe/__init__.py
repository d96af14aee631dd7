"""
Which layer of a frozen encoder knows a task best: a linear model on each layer's vectors, judged on the held-out data.

Source: Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes" (arXiv:1610.01644).
"""
