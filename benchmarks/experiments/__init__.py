"""Experiments of the papers that sdtwkit follows, run again on data within reach."""
