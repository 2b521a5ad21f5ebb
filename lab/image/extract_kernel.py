"""extract_kernel.py VMLINUZ TARGET: the kernel inside a bzImage, so that a guest need not unpack it.

QEMU starts an ELF kernel by its PVH entry. The place of the payload stands in the boot header (Linux,
Documentation/arch/x86/boot.rst). Where any of this does not hold, TARGET is a copy of VMLINUZ, which boots too.
"""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

_UNPACK = {
    b"\x02\x21\x4c\x18": ["lz4", "-dc"],
    b"\x28\xb5\x2f\xfd": ["zstd", "-dc"],
    b"\x1f\x8b\x08": ["gzip", "-dc"],
    b"\xfd7zXZ": ["xz", "-dc"],
}


def elf_kernel(image: bytes) -> bytes:
    """The ELF file in a bzImage, or nothing."""
    if image[0x202:0x206] != b"HdrS":
        return b""
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    # The build appends the unpacked size, which the tools would take for the next frame.
    payload = image[start : start + length - 4]
    command = next((command for magic, command in _UNPACK.items() if payload.startswith(magic)), None)
    if command is None:
        return b""
    kernel = subprocess.run(command, input=payload, capture_output=True, check=False).stdout
    return kernel if kernel.startswith(b"\x7fELF") else b""


source, target = map(Path, sys.argv[1:])
kernel = elf_kernel(source.read_bytes())
if kernel:
    target.write_bytes(kernel)
else:
    shutil.copy(source, target)
