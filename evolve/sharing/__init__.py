"""Searches that share candidates: each offers its best programs in a small file, and takes in those of the others."""
