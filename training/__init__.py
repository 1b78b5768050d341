"""The stages: what a step is, how it is repeated, resumed, placed on workers and tracked."""
