"""The migrations, one per file. A released migration is never changed."""
