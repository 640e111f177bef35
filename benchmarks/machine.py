"""What the figures were measured on."""

import contextlib
import datetime
import io
import os
import platform
from pathlib import Path

from benchmarks.peers import OURS, installed_peers


def describe():
    """Processor, cores and their load, system, versions, instruction level and date; no names of hosts or folders."""
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "level": instruction_level(),
        "versions": {peer.name: peer.version() for peer in installed_peers()},
    }


def processor():
    """Model name, with family and model where several processors share the name."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return platform.processor() or platform.machine()
    first = path.read_text().split("\n\n")[0].splitlines()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
    if "model name" not in fields:
        return platform.machine()
    return f"{fields['model name']} (family {fields.get('cpu family')}, model {fields.get('model')})"


def instruction_level():
    """The level that sdtwkit.show_versions() names, "unknown" where sdtwkit is not installed."""
    if not OURS.installed():
        return "unknown"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        OURS.load().show_versions()
    line = next((line for line in printed.getvalue().splitlines() if line.startswith("instruction level")), "unknown")
    return line.split()[-1]
