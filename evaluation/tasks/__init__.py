"""What is asked of a model: each task makes pictures and measures them."""
