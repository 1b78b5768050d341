"""Requests to jobs, jobs to answers."""
