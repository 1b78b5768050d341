"""States on a disk or in a bucket, and the bundles that a run leaves."""
