"""How steps are repeated, measured and written down."""
