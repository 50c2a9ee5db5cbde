"""Which channels of a traced model depend on one another, and taking some of them out of a module."""
