"""Process, signals, logging, drain: the composition root. Decides nothing about requests."""
