"""What kernels on vectors share: reading lanes through indexing maps, and scalar bodies on vectors."""
