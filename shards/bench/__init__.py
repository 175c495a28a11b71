"""`python -m shards bench`: what limits the stream on this machine, and what would help."""
