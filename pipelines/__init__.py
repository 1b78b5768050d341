"""The data: from folders of images, or from none at all, to shards, batches and tokens."""
