"""
The report of a training: one HTML file that needs nothing but itself, no script, no network.

``analysis`` finds what is worth seeing, ``charts`` draws, ``page`` writes it down, ``writing`` brings it to storage.
"""
