"""Prompt sets and the caption grammar."""
