"""Configuration stores: the contract (`configuration_store.py`) and one file a component."""
