"""Name resolution: the contract (`resolver.py`) and one file for each component."""
