"""The servers beneath this project, Ray and MLflow: where they are, and whether anybody answers
there.
"""
