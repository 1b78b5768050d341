"""What users would otherwise train, on the same loop: CycleGAN and CUT."""
