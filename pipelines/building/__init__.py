"""Folders to shards: files that are looked at, a plan, samples, tar files and what commits them."""
