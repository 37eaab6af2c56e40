"""Compiles every kernel beside this script with NVRTC; no GPU is needed.

    pip install --target DIR nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-runtime==13.0.96
    python compile.py DIR
"""

import ctypes
import sys
from pathlib import Path

ARCHITECTURES = ["sm_80", "sm_90", "sm_100"]


def main():
    root = Path(sys.argv[1]) / "nvidia" / "cu13"
    lib = root / "lib"
    ctypes.CDLL(str(next(lib.glob("libnvrtc-builtins.so*"))), mode=ctypes.RTLD_GLOBAL)
    nvrtc = ctypes.CDLL(str(next(lib.glob("libnvrtc.so*"))))
    failed = False
    for path in sorted(Path(__file__).parent.glob("*.cu")):
        for architecture in ARCHITECTURES:
            program = ctypes.c_void_p()
            source = path.read_bytes()
            nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, path.name.encode(), 0, None, None)
            options = [f"--gpu-architecture={architecture}", f"-I{root / 'include'}", "--std=c++17"]
            array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
            if nvrtc.nvrtcCompileProgram(program, len(options), array) == 0:
                size = ctypes.c_size_t()
                nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
                print(f"{path.name} {architecture}: {size.value} bytes")
                continue
            failed = True
            size = ctypes.c_size_t()
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value)
            nvrtc.nvrtcGetProgramLog(program, log)
            print(f"{path.name} {architecture}: failed\n{log.value.decode()}", file=sys.stderr)
    sys.exit(failed)


if __name__ == "__main__":
    main()
