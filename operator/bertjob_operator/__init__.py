"""The operator: watch, observe, plan (pure), execute."""
