"""One story a file: the only layer where reading, models, vectors and reports meet."""
