"""Proposers turn a sample of the archive into a proposal."""
