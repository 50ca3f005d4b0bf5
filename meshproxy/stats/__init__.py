"""Counters, gauges and histograms: what is counted, under which names. The lowest floor."""
