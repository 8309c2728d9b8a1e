"""What the benchmarks of evidence share: races on tables in which every run is known."""
