"""NVIDIA's run-time compiler without a GPU: the package nvidia-cuda-nvrtc, called through ctypes."""

import ctypes
import functools
import importlib.metadata

PACKAGES = "nvidia-cuda-nvrtc", "nvidia-cuda-nvrtc-cu12"
MISSING = "NVRTC is not installed; install it with: pip install -e '.[cuda-check]'"


@functools.cache
def library():
    """The compiler, or None where it is not installed."""
    for package in PACKAGES:
        try:
            files = importlib.metadata.files(package) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name.startswith("libnvrtc.so"):
                return ctypes.CDLL(str(file.locate()))
    return None


def compile(text, name, options):
    """What the compiler says of a source; AssertionError where it does not compile it."""
    nvrtc, program = library(), ctypes.c_void_p()
    given = [option.encode() for option in options]
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None) == 0
    failed = nvrtc.nvrtcCompileProgram(program, len(given), (ctypes.c_char_p * len(given))(*given))
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    assert not failed, f"NVRTC does not compile {name} {' '.join(options)}:\n{log.value.decode()[:4000]}"
    return log.value.decode()
