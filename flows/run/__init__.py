"""Around a run: opening and ending it, its stages one after another, and what it shows of itself."""
