"""The benchmark of real sizes, in small: what makes its weights, and its stages that need no GPU."""

import json
import random
import struct
import subprocess
import sys

from benchmarks.gpu_memory import by_device
from benchmarks.random_model import RandomWeights, Shape

SMALL = Shape(width=32, feed_forward=48, layers=1, heads=2, kv_heads=1)


def test_random_weights_are_the_same_bytes_in_whatever_pieces_they_are_read():
    weights = RandomWeights(SMALL)
    whole = weights.read(0, weights.size_bytes + 1)
    choose, place, pieces = random.Random(1), 0, []
    while place < len(whole):
        pieces.append(weights.read(place, choose.choice([1, 7, 900, 70_001])))
        place += len(pieces[-1])
    assert b"".join(pieces) == whole
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    assert len(whole) == 8 + length + max(entry["data_offsets"][1] for entry in header.values())
    assert header["model.layers.0.self_attn.qkv_proj.weight"]["shape"] == [64, 32]


def test_pinned_memory_of_the_driver_is_the_cpu_s():
    reported = {"compute CUDA0": 139.0, "compute CUDA_Host": 14.02, "output CUDA_Host": 3.45, "KV CPU": 8.0}
    summed = {"compute CUDA0": 139.0, "compute CPU": 14.02, "output CPU": 3.45, "KV CPU": 8.0}
    assert by_device(reported) == summed


def test_stages_write_what_they_measured_and_keep_what_earlier_ones_wrote(tmp_path, native_library):
    results = tmp_path / "gpu.json"
    for stage in ("convert", "buffers"):
        command = [sys.executable, "-m", "benchmarks.gpu", "--size", "0.1b", "--quantizations", "Q8_0"]
        places = ["--stages", stage, "--folder", str(tmp_path), "--json", str(results)]
        subprocess.run([*command, *places], check=True, capture_output=True, timeout=300)
    stages = json.loads(results.read_text(encoding="utf-8"))["sizes"]["0.1b"]
    converted, buffers = stages["convert"]["rows"][0], stages["buffers"]["rows"][0]
    # 2 x 100,352 x 512, and 4 layers of (6 x 128 + 512 + 3 x 1792) x 512 and two norms; and one norm
    assert converted["weights"] == 2 * 100_352 * 512 + 4 * ((768 + 512 + 5376) * 512 + 1024) + 512
    assert converted["file_bytes"] == (tmp_path / "random-0.1b-Q8_0.gguf").stat().st_size
    assert all(abs(row["errors"]["model CPU"]) < 0.01 for row in buffers["settings"])
