"""Measurements on frozen features, and how far the results of a few runs can be trusted."""
