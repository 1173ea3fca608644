"""What people look at: tables, charts, the HTML report."""
