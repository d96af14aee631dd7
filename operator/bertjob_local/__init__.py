"""Running without a cluster, and a cluster of real parts on loopback."""
