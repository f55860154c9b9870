"""Benchmarks: SomaGent beside the bare parts it is made of, on the same servers, in the same run."""
