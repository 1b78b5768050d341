"""Shards to samples in an order that a position decides."""
