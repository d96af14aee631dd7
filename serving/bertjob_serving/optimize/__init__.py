"""The optimize step: build candidates from the trained model, measure them, let the gate judge, publish the winner."""
