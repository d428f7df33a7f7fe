"""What people see of a study: while it runs, when it ends, and afterwards."""
