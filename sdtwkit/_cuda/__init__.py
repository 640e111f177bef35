"""The CUDA engine: requests as the compiled kernels take them, served by the kernels of `_kernels/cuda` on CuPy arrays.

`kernels` turns a source file into compiled kernels; each family of problems has a module with its requests beside it.
Kernels run on the device of the arrays and on CuPy's current stream, and nothing here waits for them: what only the
device knows (whether a number is NaN, whether a length on the device is in range) becomes a NaN in the value of its
problem.
"""
