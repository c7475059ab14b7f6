"""Files that are damaged or made to harm: each is refused, or read as what was written.

They are all read by one child process (`python -m tests.test_hostile_files FOLDER`), which has
limits, so that neither a crash nor an endless loop can take the tests along.
"""

import resource
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.convert.torch_reader import open_state_dict
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.shapes import variable_shapes
from tests.convert import torch_files

Arrays = dict[str, np.ndarray]

CPU_SECONDS, MEBIBYTES = 2, 128  # that one file may cost
KIB = 1 if sys.platform == "darwin" else 2**10  # unit of `ru_maxrss`, bytes


def mutations(content: bytes, count: int, start: int = 0, stop: int | None = None):
    """Copies of a file with one damage each, from `start` to `stop` of it, by a fixed seed."""
    rng = np.random.default_rng(0)
    for trial in range(count):
        place = int(rng.integers(start, stop or len(content)))
        length = int(rng.integers(1, 5))
        end, other = place + length, int(rng.integers(len(content)))
        match trial % 6:
            case 0:
                flipped = content[place] ^ 1 << int(rng.integers(8))
                yield content[:place] + bytes([flipped]) + content[place + 1 :]
            case 1:
                yield content[:place] + rng.bytes(length) + content[end:]
            case 2:
                yield content[:place] + content[end:]
            case 3:
                yield content[:place] + rng.bytes(length) + content[place:]
            case 4:
                yield content[:place] + content[other : other + 64] + content[place + 64 :]
            case _:
                yield content[:place]


def read_torch(path: Path) -> Arrays:
    with open_state_dict(path, "net") as tensors:
        return {name: tensor.read() for name, tensor in tensors.items()}


def read_safetensors(path: Path) -> Arrays:
    arrays: Any = flax.traverse_util.flatten_dict(checkpoint.read(path.parent).variables, sep="/")
    return arrays


def damaged_torch_files(path: Path) -> Iterator[None]:
    for content in mutations(path.read_bytes(), 300):
        path.write_bytes(content)
        yield


def damaged_pickles(path: Path) -> Iterator[None]:
    """Damage that no checksum of the archive tells of."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    for content in mutations(records["archive/data.pkl"], 300):
        with zipfile.ZipFile(path, "w") as archive:
            for name, record in (records | {"archive/data.pkl": content}).items():
                archive.writestr(name, record)
        yield


def damaged_safetensors_files(path: Path) -> Iterator[None]:
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for part in ({"stop": header}, {"start": header}):
        for mutated in mutations(content, 150, **part):
            path.write_bytes(mutated)
            yield


DEEP = b")" + b"\x85" * 200_000  # a tuple in a tuple in ...
WIDE = b")" + b"2\x86" * 40  # a tuple of twice a tuple of twice ...
CRAFTED = {
    "hash of a deep tuple": b"}" + DEEP + b"Ns",
    "hash of a tuple that doubles": b"}" + WIDE + b"Ns",
    "comparison of deep tuples": b"}(" + (b")" + b"\x85" * 10_000 + b"N") * 2 + b"u",
    "set of a tuple that doubles": b"\x8f(" + WIDE + b"\x90",
    "frozen set of a tuple that doubles": b"(" + WIDE + b"\x91",
    "deep state dict": torch_files.mapping({"net": DEEP}),
    "deep name": DEEP + torch_files.plain("x") + b"\x93",
    "deep function": DEEP + b")R",
    "deep reference": DEEP + b"Q",
    "deep tensor": b"N"
    + b"".join(
        [b"q\0ctorch._utils\n_rebuild_tensor_v2\n(h\0NNNtR"] * 30_000  # a tensor of a tensor of ...
    ),
    "tuple that doubles as a tensor's shape": torch_files.mapping(
        {
            "net": torch_files.mapping(
                {"a": b"ctorch._utils\n_rebuild_tensor_v2\n(NK\0" + WIDE + b"NtR"}
            )
        }
    ),
    "integers of one hash": b"}("
    + b"".join(b"\x8a\x0b" + (k * (2**61 - 1)).to_bytes(11, "little") + b"N" for k in range(10**5))
    + b"u",
    "memo of one hash": b"N" + b"".join(b"p%d\n" % (k * (2**61 - 1)) for k in range(10**5)),
    "five million opcodes": b"N0" * 2_500_000,
    "a hundred thousand names": b"".join(b"ca\n%d\n0" % k for k in range(10**5)),
    "twenty megabytes of pickle": b"B" + (20 * 2**20).to_bytes(4, "little") + bytes(20 * 2**20),
    "an integer of a million digits": b"I" + b"9" * 10**6 + b"\n",
    "a long name": torch_files.mapping({"net": torch_files.mapping({"a" * 10**7: b"N"})}),
    "a name that steers the terminal": torch_files.mapping(
        {"net": torch_files.mapping({"\x1b[2J\nerror: none": b"N"})}
    ),
}


def crafted_pickles(path: Path) -> Iterator[None]:
    for content in CRAFTED.values():
        torch_files.save(path, content)
        yield


def many_records(path: Path) -> Iterator[None]:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(2):
            archive.writestr(f"archive/data/{number:06d}", b"")
    content = path.read_bytes()
    size, start = (int.from_bytes(content[at : at + 4], "little") for at in (-10, -6))
    entries = content[start : start + size] * 300_000
    end = content[-22:-10] + len(entries).to_bytes(4, "little") + content[-6:]
    path.write_bytes(content[:start] + entries + end)
    yield


def make_torch_file(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    arrays = {
        "conv.weight": rng.standard_normal((4, 3, 3, 3), np.float32),
        "conv.bias": rng.standard_normal(4).astype(np.float16),
        "norm.num_batches_tracked": np.ones((), np.int64),
    }
    settings = torch_files.instance("lib.Settings", torch_files.plain({"x": [1, (2, 3)]}))
    path = folder / "net.pth"
    torch_files.save_checkpoint(path, arrays, beside={"settings": settings})
    return path


def make_safetensors_file(folder: Path) -> Path:
    config, rng = VARIANTS["testing"], np.random.default_rng(2)
    arrays = {
        name: rng.standard_normal(shape, np.float32)
        for name, shape in variable_shapes(config).items()
    }
    variables = flax.traverse_util.unflatten_dict(arrays, sep="/")
    return checkpoint.save(folder / "c", config, variables, {"kind": "trained"})


# How the files are made and read, and whether one that is read must hold what was written.
CASES: dict[str, tuple[Callable, Callable, Callable, bool]] = {
    "damaged torch files": (make_torch_file, damaged_torch_files, read_torch, True),
    "damaged pickles": (make_torch_file, damaged_pickles, read_torch, False),
    "crafted pickles": (make_torch_file, crafted_pickles, read_torch, True),
    "many records": (make_torch_file, many_records, read_torch, True),
    "damaged safetensors files": (
        make_safetensors_file,
        damaged_safetensors_files,
        read_safetensors,
        True,
    ),
}


def check(name: str, folder: Path) -> None:
    """Reads a case's files; asserts what becomes of them and what each costs."""
    make, damage, read, same = CASES[name]
    path = make(folder)
    intact = read(path)
    refused = count = 0
    for count, _ in enumerate(damage(path), start=1):
        memory, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        try:
            found = read(path)
        except InputError as error:
            refused, message = refused + 1, str(error)
            usable = len(message) < 5000 and message.replace("\n", "").isprintable()
            usable &= str(path) in message
        else:
            message = "read as something else"
            usable = not same or (
                found.keys() == intact.keys()
                and all(map(np.array_equal, found.values(), intact.values()))
            )
        assert usable, f"file {count}: {message[:5000]!r}"
        seconds = time.process_time() - seconds
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
        assert seconds < CPU_SECONDS, f"file {count} took {seconds:.1f} s"
        assert memory * KIB < MEBIBYTES * 2**20, f"file {count} took {memory * KIB:,} bytes"
    assert refused >= count * 0.75
    print(f"{name}: {count} files, {refused} refused")


def main(folder: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))
    for number, name in enumerate(CASES):
        (folder / str(number)).mkdir()
        check(name, folder / str(number))


def test_hostile_files_cost_little_and_are_not_taken_for_others(tmp_path):
    command = [sys.executable, "-m", "tests.test_hostile_files", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.returncode}: {done.stdout}{done.stderr[-3000:]}"
    assert done.stdout.count(" refused\n") == len(CASES)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
