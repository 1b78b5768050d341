"""Content encoder, quantizers, style, generators, discriminators."""
