"""Bytes, wherever they lie: folders, buckets, web servers, and a cache of this machine."""
