"""What people see on a terminal: progress, tables and notices."""
