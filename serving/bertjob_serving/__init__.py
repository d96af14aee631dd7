"""Optimizing a trained model and serving it."""
