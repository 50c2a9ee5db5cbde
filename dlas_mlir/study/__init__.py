"""Studies: points over the six layers of DLAS, planned, run, kept and reported."""
