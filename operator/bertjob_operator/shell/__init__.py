"""Effects of the operator: reading a cluster, carrying plans out, asking pods for their progress."""
