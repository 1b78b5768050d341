"""The terms that are minimised."""
