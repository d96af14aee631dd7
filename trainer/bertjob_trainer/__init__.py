"""Training: model, loop, elasticity, checkpoints."""
