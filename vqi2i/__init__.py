"""VQ-I2I: image translation, generation and extension over vector-quantized content (ECCV 2022), in plain PyTorch."""
