"""Secret stores: the contract (`secret_store.py`) and one file for each component."""
