"""Verbs that judge models: measure, compare, ask people."""
