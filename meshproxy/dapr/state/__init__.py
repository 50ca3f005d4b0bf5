"""State stores: the contract (`store.py`) and one file for each component."""
