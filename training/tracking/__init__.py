"""Who hears of a run."""
