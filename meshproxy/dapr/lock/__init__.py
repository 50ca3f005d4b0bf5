"""Distributed locks: the contract (`lock_store.py`) and one file for each component."""
