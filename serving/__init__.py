"""A trained model behind HTTP: batched execution, routes, and the Ray Serve deployments around
them.
"""
