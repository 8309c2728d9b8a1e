"""What runs and scores say together, and what to run next."""
