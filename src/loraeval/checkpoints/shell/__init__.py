"""Commands of shell scripts, PowerShell, batch files and notebooks, read without running them."""
