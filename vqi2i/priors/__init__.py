"""Distributions over tokens and styles, and how canvases are filled from them."""
