"""What the bucket proves: the trail read back, verified and restored from S3 alone."""
