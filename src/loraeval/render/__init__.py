"""Rendering: recipe, pipeline, store, fleet."""
