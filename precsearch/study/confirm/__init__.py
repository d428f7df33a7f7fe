"""Training the front's allocations again, on fresh seeds beside what they have to beat."""
