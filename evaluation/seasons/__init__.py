"""The painted seasons: translations held against a known truth, and what they look like."""
