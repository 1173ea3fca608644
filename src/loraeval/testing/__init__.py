"""Ground truth for tests and demos, shipped to users: procedural portraits and fake renders."""
