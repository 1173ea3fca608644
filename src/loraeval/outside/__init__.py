"""What comes from outside and goes there: text, JSON, TOML and files, read within bounds."""
