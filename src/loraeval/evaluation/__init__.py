"""What the command line and pytest both call: render, score, gate, joined."""
