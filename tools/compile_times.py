"""What NVRTC takes to compile CUDA kernels one by one, as at their first use, and the registers they take; no device.

    python tools/compile_times.py alignment "forward<.*float.*Given, false, false"

Seconds are those of a CPU, so that it does not matter what else is running.
"""

import argparse
import importlib
import re
import time

from cupy.cuda import nvrtc


def compile_kernel(file, name, architecture):
    """Seconds, and registers of a thread."""
    program = nvrtc.createProgram(file.program([name]), "kernels.cu", (), ())
    start = time.process_time()
    options = (*file.options, "-ftz=true", "--device-as-default-execution-space")  # as CuPy has them
    nvrtc.compileProgram(program, (*options, "--ptxas-options=-v", f"-arch=sm_{architecture}"))
    seconds = time.process_time() - start
    registers = re.search(r"Used (\d+) registers", nvrtc.getProgramLog(program))[1]
    nvrtc.destroyProgram(program)
    return seconds, registers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("family", help="a file of _kernels/cuda, without .cu")
    parser.add_argument("kernels", nargs="?", default="", help="a regular expression for their names; all, if none")
    parser.add_argument("--architecture", type=int, default=90)
    arguments = parser.parse_args()
    family = importlib.import_module(f"sdtwkit._cuda.{arguments.family}")
    names = dict.fromkeys(name for library in family.libraries().values() for name in library)
    chosen = [name for name in names if re.search(arguments.kernels, name)]
    total = 0
    print(f"NVRTC {'.'.join(map(str, nvrtc.getVersion()))}, sm_{arguments.architecture}: seconds, registers, kernel")
    for name in chosen:
        seconds, registers = compile_kernel(family.FILE, name, arguments.architecture)
        total += seconds
        print(f"{seconds:8.2f} {registers:>4} {name.replace('sdtw::', '')}")
    print(f"{total:8.2f}      {len(chosen)} kernels of {len(names)}")


if __name__ == "__main__":
    main()
