"""Benchmarks of sdtwkit: asv classes in bench_*.py, and compare.py, which measures it beside other libraries."""
