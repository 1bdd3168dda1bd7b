"""Architectures that no library gives, one file per family; nothing here reads files or knows of bundles."""
