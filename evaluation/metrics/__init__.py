"""Metrics, one idea a file: each says its definition, source, unit and range."""
