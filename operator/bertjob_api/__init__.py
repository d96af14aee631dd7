"""
The contract that every BertJob program shares: names, types, parsing, manifests, commands.

Pure and standard library only (``jobfile`` alone reads YAML), so that a trainer image, a predictor image and the operator can
all import it. No function here reads a clock, a file, the environment or the network.
"""
