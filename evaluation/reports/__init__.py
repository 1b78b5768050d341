"""Figures and pictures on pages that people open."""
