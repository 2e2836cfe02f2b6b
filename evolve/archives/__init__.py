"""Archives keep who may breed."""
