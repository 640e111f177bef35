"""Finished parts of an experiment, kept in files, so that a run that was interrupted goes on where it stopped."""

import json
import sys
import time

import sdtwkit


def part(file, settings, compute):
    """-> {"key", "cpu_seconds", "result"}, from the file if it holds the same settings and version of sdtwkit.

    settings : dict of what the result depends on
    compute : function without arguments; its result is told in JSON's types
    """
    key = json.loads(json.dumps({"version": sdtwkit.__version__, **settings}))
    if file.exists() and (record := json.loads(file.read_text()))["key"] == key:
        return record
    start = time.process_time()
    result = compute()
    record = {"key": key, "cpu_seconds": time.process_time() - start, "result": result}
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1))
    partial.replace(file)
    print(f"{file.stem}: {record['cpu_seconds']:.1f} s", file=sys.stderr, flush=True)
    return record
