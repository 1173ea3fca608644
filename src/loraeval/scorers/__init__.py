"""Scorers: palette, grid, style, realism, health, and what they share."""
