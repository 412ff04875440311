"""Secret arrays: from a file, through numpy, to other consumers, and back. Run it: python examples/arrays.py"""
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import secalloc.numpy as snp
from secalloc import SecureBytes

with tempfile.TemporaryDirectory() as folder:
    # A biometric template, say: read(2) and write(2) go straight to and from secret pages.
    path = Path(folder) / "template.npy"
    snp.save(path, snp.random((100, 64)))
    templates = snp.load(path)
print("loaded:", templates.shape, "held by", snp.backend(templates))

# All that numpy makes in the block is secret, temporaries too; a decorated function may run in any thread.
with snp.secure_arrays():
    centred = templates - templates.mean(axis=0)


@snp.secure_arrays()
def distances(row: np.ndarray) -> np.ndarray:
    return np.sqrt(((centred - row) ** 2).sum(axis=1))


with ThreadPoolExecutor(2) as workers:
    nearest = [int(found.argsort()[1]) for found in workers.map(distances, centred[:5])]
print("nearest neighbours:", len(nearest), "found in threads")

# Other consumers take the same pages, without a copy. (Likewise: torch.from_numpy, pyarrow.py_buffer.)
same = np.from_dlpack(centred)
view = memoryview(centred).cast("B")
print("DLPack and memoryview:", snp.is_secret(same), same.ctypes.data == centred.ctypes.data, view.nbytes)

# A key as numbers, in place; and one behind a guard page that is closed when it is not in use.
key = SecureBytes.random(32)
words = snp.frombuffer(key, "u4")
print("eight words of a key:", words.size, snp.owner(words) is key)

guarded = snp.random(32, "u1", guarded=True)
owner = snp.owner(guarded)
assert owner is not None
del guarded
owner.noaccess()
with owner.unlocked():
    print("unlocked, its greatest byte is below 256:", int(snp.frombuffer(owner, "u1").max()) < 256)

snp.wipe(templates)
print("wiped:", not templates.any())
