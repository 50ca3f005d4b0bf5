"""Message brokers: the contract (`broker.py`) and one file for each component."""
