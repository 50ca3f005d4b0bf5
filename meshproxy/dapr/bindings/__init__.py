"""Bindings: the contracts (`binding.py`) and one file for each component."""
