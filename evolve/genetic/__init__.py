"""Typed genetic programming on the source text of whole programs; knows no problem, needs no network."""
