"""The gate: margins, intervals, sequential test, epoch selection, verdict."""
