"""What a step is. Knows nothing of reports, checkpoints or Ray."""
