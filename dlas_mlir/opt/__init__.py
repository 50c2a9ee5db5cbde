"""What makes a pass driver: the pass base class, options, the registry, pipeline text, diagnostics, reproducers."""
