"""Everything static is in pyproject.toml; the extensions live here: the compiler must be asked what it takes."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

OPENMP_PROGRAM = "#include <omp.h>\nint main() { return omp_get_max_threads() < 1; }\n"
# Comparisons may be turned into selections, sqrt into an instruction; both are needed for the loops to vectorise, and
# neither changes a result. Never -ffast-math (infinities have meaning) and never -march=native (wheels travel).
UNIX_FLAGS = ["-std=c++17", "-O3", "-fno-trapping-math", "-fno-math-errno", "-fvisibility=hidden"]
UNIX_FLAGS += ["-Wall", "-Wextra", "-Wno-psabi"]  # psabi: vectors only travel between inlined functions
UNIX_FLAGS += ["-g0"]  # Python's own flags ask for debug information: 7 MB instead of 2, and 40 percent more time
DEBUG = os.environ.get("SDTWKIT_DEBUG") == "1"
LEVELS = ("baseline", "avx2", "avx512")
KERNELS = Path("sdtwkit", "_kernels")


class BuildExt(build_ext):
    def _accepts(self, program, compile_flags, link_flags=()):
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.cpp")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], folder, extra_postargs=list(compile_flags))
                self.compiler.link_executable(objects, "probe", folder, extra_postargs=list(link_flags))
            except Exception:  # whatever this compiler's way of refusing is
                return False
        return True

    def _flags(self):
        if self.compiler.compiler_type == "msvc":
            # Not /openmp:llvm: its runtime may not be passed on with a wheel, vcomp140 may.
            return ["/std:c++17", "/O2", "/openmp", "/EHsc"], []
        extra = os.environ.get("SDTWKIT_CXXFLAGS", "").split()  # sanitizers, coverage
        flags, link = UNIX_FLAGS + extra, extra
        for openmp in (["-fopenmp"], ["-Xpreprocessor", "-fopenmp", "-lomp"]):
            if self._accepts(OPENMP_PROGRAM, openmp, openmp):
                return flags + openmp[:2], link + openmp
        return [*flags, "-Wno-unknown-pragmas"], link

    def build_extensions(self):
        flags, link = self._flags()
        for extension in self.extensions:
            extension.extra_compile_args += flags
            extension.extra_link_args += link
        # The source files of an extension are compiled side by side.
        compile_one_by_one = self.compiler.compile

        def compile_in_parallel(sources, *args, **kwargs):
            with ThreadPoolExecutor(self.parallel or os.cpu_count() or 1) as pool:
                objects = pool.map(lambda source: compile_one_by_one([source], *args, **kwargs), sources)
                return [path for paths in objects for path in paths]

        self.compiler.compile = compile_in_parallel
        super().build_extensions()


def extension(name, *cpp):
    return Extension(
        f"sdtwkit._kernels.{name}",
        [str(KERNELS / f"{name}.pyx"), *(str(KERNELS / file) for file in cpp)],
        include_dirs=[str(KERNELS / "include")],
        depends=[str(path) for path in KERNELS.rglob("*.h")],
        language="c++",
    )


setup(
    cmdclass={"build_ext": BuildExt},
    ext_modules=cythonize(
        [
            extension("alignment", "alignment_run.cpp", "ctc_run.cpp", *(f"level_{name}.cpp" for name in LEVELS)),
            extension("chain", "chain_run.cpp", "chain_levels.cpp"),
            extension("warp"),
            extension("recurrent", "recurrent_run.cpp"),  # reads the declarations of scipy's BLAS
        ],
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": DEBUG,
            "initializedcheck": DEBUG,
            "cdivision": True,
            "embedsignature": True,
        },
    ),
)
