"""`secalloc map` and `secalloc.layout`: a picture tells what the layout says, in any width."""
import os
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from secalloc import Heap, SecureBytes, layout
from secalloc_ext.heapobject import HeapPart

SCRIPT = """
import sys
from secalloc import Heap, SecureBytes
heap = Heap("of the script")
keys = [SecureBytes(n, heap=heap) for n in (32, 100_000)]
print(__name__, sys.argv[1:])
if "raise" in sys.argv:
    raise ValueError("the script's own")
sys.exit(int(sys.argv[-1]))
"""


def secalloc_map(*arguments, **options):
    command = [sys.executable, "-P", "-m", "secalloc", "map", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def slab(frame, live, *, chunk=None, slots=100, pages=4):
    return HeapPart(frame, frame if chunk is None else chunk, frame << 17, pages * 4096, "slab", 48, slots, live, 0)


def drawn(monkeypatch, *parts, **options):
    """The lines that show the parts."""
    monkeypatch.setattr(layout, "layouts", lambda: [("h", list(parts))])
    return re.findall(r"^ +(?:[\d.]+ MiB |\.\.\. ).*", layout.draw(**options), re.M)


def test_an_example_is_drawn():
    done = secalloc_map()
    assert (done.returncode, done.stderr) == (0, "")
    assert "heap 'example'" in done.stdout
    assert "guard page" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_script_s_heaps_are_drawn_as_they_are_at_its_end(script):
    done = secalloc_map(script, "--svg", "own option", 0)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("__main__ ['--svg', 'own option', '0']\nheap 'of the script': 2 chunks")
    assert "97.7 KiB" in done.stdout


def test_a_script_s_exit_status_is_passed_on(script):
    done = secalloc_map(script, 3)
    assert done.returncode == 3
    assert "heap 'of the script'" in done.stdout


def test_a_script_that_fails_has_its_traceback_and_no_picture(script):
    done = secalloc_map(script, "raise")
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: the script's own\n")
    assert "heap '" not in done.stdout


def test_a_script_that_is_not_there_is_refused(tmp_path):
    assert secalloc_map(tmp_path / "none.py").returncode == 2


def test_a_terminal_without_unicode_gets_ascii():
    done = secalloc_map(env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "|48" in done.stdout


@pytest.mark.parametrize(("live", "shade"), [(0, "·"), (1, "░"), (25, "░"), (26, "▒"), (75, "▓"), (76, "█")])
def test_the_shade_of_a_slab_says_how_many_slots_live(monkeypatch, live, shade):
    assert drawn(monkeypatch, slab(2, live)) == [f"    0.25 MiB │48{2 * shade}│"]


def test_slabs_of_a_chunk_share_a_guard_and_chunks_lie_apart(monkeypatch):
    assert drawn(monkeypatch, slab(0, 0), slab(1, 0, chunk=0), slab(2, 0)) == ["    0.00 MiB │48··│48··│ │48··│"]


def test_pieces_and_large_objects_and_kept_ones_are_told_apart(monkeypatch):
    piece, large, kept = (HeapPart(i, i, i << 17, 1 << 15, kind, size, size > 0, size > 0, 0)
                          for i, (kind, size) in enumerate([("piece", 0), ("large", 30_000), ("kept", 0)]))  # fmt: skip
    assert drawn(monkeypatch, piece, large, kept) == ["    0.00 MiB │________│ │████████│ │~~~~~~~~│"]
    assert drawn(monkeypatch, large._replace(bytes=1 << 16)) == ["    0.12 MiB │29.3 KiB████████│"]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("count", [1, 50, 5_000])
def test_no_line_is_longer_than_asked_for_and_not_many_are_drawn(monkeypatch, columns, count):
    lines = drawn(monkeypatch, *(slab(i, i % 101, pages=31) for i in range(count)), columns=columns)
    assert max(map(len, lines)) <= columns
    assert len(lines) <= 24


def test_what_is_left_out_is_said(monkeypatch):
    monkeypatch.setattr(layout, "CELL_BYTES_MAX", layout.CELL_BYTES_MIN)
    slabs = [slab(i, 0) for i in range(5_000)]
    lines = drawn(monkeypatch, *slabs)
    [said] = re.findall(r"\.\.\. (\d+) lines left out", "\n".join(lines))
    every = drawn(monkeypatch, *slabs, lines=10_000)
    assert len(lines) - 1 + int(said) == len(every)
    assert lines[:11] + lines[12:] == every[:11] + every[-12:]


def test_one_s_own_heap_is_drawn_alone_and_one_without_pages_too():
    heap, other = Heap("mine"), Heap("other")
    assert "heap 'mine': no pages" in layout.draw(heap)
    keys = [SecureBytes(32, heap=heap), SecureBytes(32, heap=other)]
    assert "heap 'mine': 1 chunks" in layout.draw(heap)
    assert "other" not in layout.draw(heap)
    del keys


def test_the_image_is_well_formed_and_shows_every_part(tmp_path):
    file = tmp_path / "heap.svg"
    assert secalloc_map("--svg", file).returncode == 0
    heap, keys = layout.example()
    parts_now = len(heap.layout())  # the touching thread adds some meanwhile: counted before
    for text, parts in ((file.read_text(), 20), (layout.svg(heap), parts_now)):
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        told = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
        assert len(told) >= parts
        assert any("slots of 48 bytes live" in each for each in told)
        width, height = (float(root.get(side)) for side in ("width", "height"))
        for box in root.iter("{http://www.w3.org/2000/svg}rect"):
            assert float(box.get("x", 0)) + float(box.get("width")) <= width
            assert float(box.get("y", 0)) + float(box.get("height")) <= height
    del keys


def test_a_name_is_no_markup():
    heap = Heap("<&> [bold]")
    assert "&lt;&amp;&gt; [bold]" in layout.svg(heap)
    assert "<&> [bold]" in layout.draw(heap)


def test_no_address_is_in_a_picture():
    heap, keys = layout.example()
    from secalloc.holder import address_of

    base = address_of(keys[0])
    for text in (layout.svg(heap), layout.draw(heap), repr(heap.layout())):
        assert not [number for number in re.findall(r"\d{9,}", text) if abs(int(number) - base) < 1 << 40]
        assert f"{base >> 24:x}" not in text
