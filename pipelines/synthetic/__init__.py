"""Landscapes with a known truth."""
