"""Debian's kernels, by apt, with a configuration of its own: this machine's lists and packages stay as they are.

The mirror is the one that this machine's apt uses. What comes from it is verified as for every Debian machine: apt
checks each suite's InRelease against the keys of Debian's archive that the package debian-archive-keyring has put here,
the package lists against InRelease, and the package against the list. Suites newer than this machine are signed with
keys that its keyring knows as well, as long as it is up to date; where it is not, apt says so and nothing is fetched.

A kernel is kept outside the repository, unpacked, and fetched once; `refresh` looks whether there is a newer one.
"""
from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KERNELS", "Kernel", "cache_folder", "kernel", "newest_release"]

# By the name that the command line and the report have for them: Debian's suites.
KERNELS = {"6.1": "bookworm", "6.12": "trixie", "7": "forky"}
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
SWITCHED_ON = (6, 5)  # Linux with memfd_secret(2) on without a boot parameter


@dataclass(frozen=True)
class Kernel:
    """`image`: what the emulator boots; `release`: as uname(1) tells it, from the package's name."""

    name: str
    release: str
    image: Path

    @property
    def version(self) -> str:
        """Debian's, which the image has at its front: see Documentation/arch/x86/boot.rst of Linux, kernel_version."""
        with self.image.open("rb") as file:
            head = file.read(1 << 16)
        (pointer,) = struct.unpack_from("<H", head, 0x20E)
        text = head[pointer + 0x200 :].partition(b"\0")[0].decode()
        match = re.search(r"Debian (\S+)", text)
        if match is None:
            raise RuntimeError(f"{self.image} tells no version of Debian: {text!r}")
        return match[1]

    @property
    def needs_parameter(self) -> bool:
        """Whether memfd_secret(2) is off unless secretmem.enable=1 is given."""
        major, minor = map(int, self.release.split(".")[:2])
        return (major, minor) < SWITCHED_ON


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secalloc-ci" / "vm"


def _run(*command: str | Path, **options: str | Path | dict[str, str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.strip()}")
    return str(done.stdout)


def _mirror() -> str:
    lines = _run("apt-get", "indextargets", "--format", "$(REPO_URI)").splitlines()
    for line in lines:
        if re.search(r"/debian/*$", line):
            return line
    raise RuntimeError("apt's configuration here names no mirror of Debian: run `apt-get update`; sources.list(5)")


def _configured(suite: str, folder: Path) -> dict[str, str]:
    """The environment in which apt knows this suite only, and no installed package."""
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {suite} main\n")
    settings = {
        "Dir::State": folder, "Dir::State::lists": folder / "lists", "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache", "Dir::Etc::sourcelist": folder / "sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-", "Dir::Etc::preferencesparts": "-",
        "APT::Architecture": "amd64", "APT::Architectures": "amd64", "APT::Default-Release": "",
        "APT::Sandbox::User": "",  # folders of the cache may be closed to the user _apt
        "Acquire::Languages": "none",
    }  # fmt: skip
    (folder / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    return dict(os.environ, APT_CONFIG=str(folder / "apt.conf"), LC_ALL="C")


def newest_release(packages: str) -> str:
    """Of the cloud flavour, from the names of packages, one a line, that have a release in theirs."""
    releases = re.findall(r"^linux-image-(\d\S*-cloud-amd64)$", packages, re.MULTILINE)
    if not releases:
        raise RuntimeError("the suite has no linux-image-...-cloud-amd64")
    return max(releases, key=lambda release: [int(number) for number in re.findall(r"\d+", release)])


def _fetch(suite: str, kept: Path) -> None:
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept) as work:
        environment = _configured(suite, Path(work))
        _run("apt-get", "update", "-q", "--error-on=any", env=environment)
        packages = _run("apt-cache", "pkgnames", "linux-", env=environment)
        release = newest_release(packages)
        if (kept / release).is_dir():
            return
        # From Linux 7 on the image has a package of its own.
        names = packages.splitlines()
        package = next(name for name in (f"linux-binary-{release}", f"linux-image-{release}") if name in names)
        _run("apt-get", "download", "-q", package, env=environment, cwd=work)
        (archive,) = Path(work).glob("*.deb")
        _run("dpkg-deb", "-x", archive, Path(work) / "unpacked")
        (image,) = [path for path in (Path(work) / "unpacked").rglob("vmlinuz*") if path.is_file()]
        whole = Path(work) / "whole"
        whole.mkdir()
        shutil.move(image, whole / "vmlinuz")
        for older in kept.iterdir():
            if older.name != Path(work).name:
                shutil.rmtree(older)
        whole.rename(kept / release)  # complete, or not there


def kernel(name: str, *, refresh: bool = False) -> Kernel:
    """The kernel of this name, fetched if it is not kept yet."""
    kept = cache_folder() / "kernels" / name
    if refresh or not list(kept.glob("*/vmlinuz")):
        _fetch(KERNELS[name], kept)
    (image,) = kept.glob("*/vmlinuz")
    return Kernel(name, image.parent.name, image)
