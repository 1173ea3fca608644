"""Trainers other than sd-scripts and musubi-tuner: their settings in the common names."""
