"""One kernel, from a region to code.

A workload says what is computed, a schedule how its loops are run, a nest which loops follow; emitters write them out.
"""
