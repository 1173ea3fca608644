"""Images read safely; lattice and cells computed once for all scorers."""
