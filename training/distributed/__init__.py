"""One worker among many."""
