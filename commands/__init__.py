"""The command line: one module per family of verbs, put together in `run.py`."""
