"""Instructions of the innermost loops of CUDA kernels, counted in machine code; no device.

    python tools/machine_code.py alignment "forward<.*EntropyMin<float>.*Given, false, false"

A loop is a line: where it lies, how many instructions it has, how many of them go to the unit of shared memory and
shuffles, to the global memory, to the special functions, or jump. The compiler unrolls loops: a shuffle of each step
tells how often. Needs `nvdisasm` (`pip install nvidia-cuda-nvdisasm`).
"""

import argparse
import importlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cupy.cuda import nvrtc

UNITS = {
    "shared": r"SHFL|LDS|STS|ATOMS",
    "global": r"LDG?$|STG?$|ATOMG?$|RED$",
    "special": "MUFU",
    "float64": "D(ADD|MUL|FMA|SETP)",
    "jumps": "BRA|BSSY|BSYNC|BREAK|WARPSYNC|CALL|RET|EXIT",
}


def disassembler():
    """Where `nvdisasm` lies: on the path, or as its wheel has it."""
    wheels = [found for folder in sys.path for found in sorted(Path(folder).glob("nvidia/*/bin/nvdisasm"))]
    found = shutil.which("nvdisasm") or next(iter(wheels), None)
    if found is None:
        sys.exit("nvdisasm was found neither on the path nor among the packages; pip install nvidia-cuda-nvdisasm")
    return found


def disassembled(file, names, architecture):
    """Text of the machine code, compiled as CuPy does."""
    program = nvrtc.createProgram(file.program(names), "kernels.cu", (), ())
    options = (*file.options, "-ftz=true", "--device-as-default-execution-space", f"-arch=sm_{architecture}")
    nvrtc.compileProgram(program, options)
    with tempfile.NamedTemporaryFile(suffix=".cubin") as code:
        code.write(nvrtc.getCUBIN(program) + b"\0")  # CuPy drops the last byte
        code.flush()
        nvrtc.destroyProgram(program)
        return subprocess.run([disassembler(), "-c", code.name], capture_output=True, text=True, check=True).stdout


def kernels_of(text):
    """(name, instructions, place of each label) of each kernel."""
    for section in re.split(r"^\.text\.(?=\w+:)", text, flags=re.MULTILINE)[1:]:
        name, body = section.split(":", 1)
        instructions, labels = [], {}
        for label, instruction in re.findall(r"^\s*(?:(\.L_x_\d+):|/\*[0-9a-f]+\*/\s+([^;]*);)", body, re.MULTILINE):
            if label:
                labels[label] = len(instructions)
            else:
                instructions.append(re.sub(r"^@!?U?P\w+\s+", "", instruction))
        yield name, instructions, labels


def innermost_loops(instructions, labels):
    """(first, last) instruction of each, but for the detours that wait for lanes that have parted."""
    jumps = ((labels.get(label), k) for k, text in enumerate(instructions) for label in re.findall(r"\.L_x_\d+", text))
    found = {(start, k) for start, k in jumps if start is not None and start < k}
    found = {(a, b) for a, b in found if not any("COLLECTIVE" in text for text in instructions[a : b + 1])}
    return sorted(loop for loop in found if not any(o != loop and loop[0] <= o[0] and o[1] <= loop[1] for o in found))


def units(instructions):
    """How many instructions go to each of the `UNITS`."""
    operations = [text.split(".")[0].split()[0] for text in instructions]
    return Counter(unit for operation in operations for unit, pattern in UNITS.items() if re.match(pattern, operation))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", help="a file of _kernels/cuda, without .cu")
    parser.add_argument("kernels", help="a regular expression for their names")
    parser.add_argument("--architecture", type=int, default=90)
    arguments = parser.parse_args()
    family = importlib.import_module(f"sdtwkit._cuda.{arguments.family}")
    names = dict.fromkeys(name for library in family.libraries().values() for name in library)
    chosen = [name for name in names if re.search(arguments.kernels, name)]
    if not chosen:
        sys.exit(f"No kernel of {family.FILE.file} is called {arguments.kernels}; there are, e.g., {list(names)[:3]}")
    print(f"NVRTC {'.'.join(map(str, nvrtc.getVersion()))}, sm_{arguments.architecture}")
    for name, instructions, labels in kernels_of(disassembled(family.FILE, chosen, arguments.architecture)):
        print(f"{name}: {len(instructions)} instructions")
        for first, last in innermost_loops(instructions, labels):
            counted = ", ".join(f"{unit} {n}" for unit, n in units(instructions[first : last + 1]).items())
            print(f"  {first:5}-{last:<5} {last - first + 1:5}  {counted}")


if __name__ == "__main__":
    main()
