"""Hardware: devices, loading, timing and profiles. Nothing here knows how an artifact was made."""
