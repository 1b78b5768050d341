"""The search: which settings to try, and one training per trial until the best is known."""
