"""A study in a database that several drivers share: whose a trial is, and what becomes of it without its driver."""
