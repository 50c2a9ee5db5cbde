"""Layer 3 of DLAS: pruning, channel pruning, half precision, training, and what they cost in accuracy."""
