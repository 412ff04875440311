"""What must have been measured, for each row of the table: a control must find, an attack must not.

A measurement that is missing is an expectation unmet. One that the kernel lacks the means for is met, and says so.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["EXPECTATIONS", "Expectation", "Measured", "judged", "unmet"]

Measured = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Expectation:
    """`row`: in words; `boot`, `name`: of the measurement; `shown`: in the table; `met`: None where any is as good."""

    row: str
    boot: str
    name: str
    shown: Callable[[Any], str]
    met: Callable[[Any], bool] | None
    control: bool = False


def _of(value: dict[str, Any]) -> str:
    return f"{value['found']} of {value['of']}"


def _all(value: dict[str, Any]) -> bool:
    return value["found"] == value["of"] > 0


def _none(value: dict[str, Any]) -> bool:
    return value["found"] == 0 < value["of"]


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _mib(value: int) -> str:
    return f"{value >> 20} MiB"


def _is(wanted: object) -> Callable[[object], bool]:
    return lambda value: value == wanted


def _count(value: dict[str, Any]) -> str:
    return str(value["count"])


def _on_disk(secret: bool) -> tuple[Callable[[Any], str], Callable[[Any], bool]]:
    def asked(value: dict[str, Any]) -> list[bool]:
        return [found for name, found in value["found"].items() if _is_secret(name) == secret]

    def met(value: dict[str, Any]) -> bool:
        some = asked(value)
        return bool(some) and not any(some) if secret else bool(some) and all(some)

    return lambda value: f"{sum(asked(value))} of {len(asked(value))}", met


def _is_secret(name: str) -> bool:
    """"beside" is what the secret holder has in ordinary memory."""
    return name.startswith("secret") and name != "secret beside"


def _swap_ordinary(value: dict[str, Any]) -> bool:
    return value["ordinary out"] == value["ordinary"] > 0


def _swap_secret(value: dict[str, Any]) -> bool:
    return value["secret out"] == 0 < value["secret"]


def _are_zeros(value: dict[str, Any]) -> bool:
    return value["secret zeros"] == value["secret"] > 0 and value["secret found"] == value["no frame"] == 0


def _filled(kind: str, boot: str) -> list[Expectation]:
    ordinary = kind == "ordinary"
    name = f"filled with {kind} pages"
    told = f"memory filled with {kind} pages" + boot.removeprefix("filled")

    def whole(value: dict[str, Any]) -> bool:  # the page that is written from is one more
        return value["seen in the direct map"] >= value["pages"] > 0

    def none(value: dict[str, Any]) -> bool:
        return value["seen in the direct map"] == 0 < value["pages"]

    return [
        Expectation(f"{told}: how many, of all", boot, name, lambda value: f"{value['pages']} of {value['of']}", None),
        Expectation(f"{told}: seen in the direct map", boot, name, lambda value: str(value["seen in the direct map"]),
                    whole if ordinary else none, control=ordinary),
        Expectation(f"{told}: seen in the kernel image's mapping", boot, name,
                    lambda value: str(value["seen in the kernel image"]), None),
        Expectation(f"{told}: frames of the image that its mapping shows no more, the direct map does", boot, name,
                    lambda value: str(value["frames of the image"].get("direct map", 0)), None),
        Expectation(f"{told}: frames of the image that its mapping shows, the direct map not", boot, name,
                    lambda value: str(value["frames of the image"].get("kernel image", 0)), None),
    ]  # fmt: skip


def _keys() -> list[Expectation]:
    readable = "7, 32 bytes: {7}"
    wanted = {
        "read while locked": ("SIGSEGV", False),
        "read by another thread while locked": ("SIGSEGV", False),
        "read by an older thread beside a block": ("SIGSEGV", False),
        "read by a thread started in a block": (None, False),
        "write(2) while locked": ("EFAULT", False),
        "read and write(2) in a block": (readable, True),
        "read and write(2) once unlocked": (readable, True),
    }
    found = []
    for trial, (value, control) in wanted.items():
        met = None if value is None else _is(value)
        shown = {readable: "both work"}
        found.append(Expectation(f"locked heap: {trial}", "live", f"protection key: {trial}",
                                 lambda told, shown=shown: shown.get(told, told), met, control))  # fmt: skip
    return found


def _within_limits(told: str) -> bool:
    return told in ("MemlockLimitError", "all")


def _limits() -> list[Expectation]:
    """What the kernel makes of a limit has changed, and is told. Beyond it there is an error, and never a signal."""
    rows = {"bare pages": "twice the limit touched in bare pages", "bare pages beside another process":
            "bare pages touched by two processes", "objects": "twice the limit in objects"}  # fmt: skip
    return [Expectation(f"RLIMIT_MEMLOCK of 1 MiB, as {user}: {row}", "live",
                        f"memlock limit of 1 MiB, as {user}: {name}", str,
                        _within_limits if name == "objects" else None)
            for user in ("root", "an ordinary user") for name, row in rows.items()]  # fmt: skip


def _off(boot: str) -> list[Expectation]:
    """Where the kernel gives no secret memory."""
    told = "secretmem.enable=0" if boot == "off" else "no parameter, off by default"
    advice = "secretmem.enable=0" if boot == "off" else "secretmem.enable=1"

    def fell_back(value: dict[str, Any]) -> bool:
        return (value["warnings"] == [value["expected"]] and set(value["backends"]) == {"mlock"} and value["locked"])

    def advised(value: dict[str, Any]) -> bool:
        return not value["usable"] and value["value"] == "fails with ENOSYS" and advice in value["advice"]

    return [
        Expectation(f"{told}: an object is", boot, "off: error", lambda value: f"SecretMemoryUnavailable, {value}",
                    _is("ENOSYS")),
        Expectation(f"{told}: the error names the remedy", boot, "off: remedy",
                    lambda value: _yes("secretmem.enable=1" in value), lambda value: "secretmem.enable=1" in value),
        Expectation(f"{told}: `secalloc check` advises", boot, "off: secalloc check",
                    lambda value: value["advice"], advised),
        Expectation(f"{told}: backend `auto` falls back to mlock, with a warning", boot, "off: auto",
                    lambda value: _yes(fell_back(value)), fell_back),
        Expectation(f"{told}: its objects found in the direct map", boot, "off: objects of auto in the direct map", _of,
                    _all, control=True),
    ]  # fmt: skip


def _positive(value: int) -> bool:
    return value > 0


EXPECTATIONS = [
    Expectation("direct map: bytes looked at", "live", "bytes read of the direct map", _mib, _positive, control=True),
    Expectation("kernel image: bytes looked at", "live", "bytes read of the kernel image", _mib, _positive,
                control=True),
    Expectation("kernel image: the kernel's own words found in it", "live", "kernel's words in the kernel image", _yes,
                bool, control=True),
    Expectation("live: all objects in place before they are looked for", "live", "holders have all in place", _yes,
                bool, control=True),
    Expectation("live: all objects in place afterwards", "live", "holders still have all in place", _yes, bool,
                control=True),
    Expectation("live: ordinary objects found", "live", "live: ordinary markers", _of, _all, control=True),
    Expectation("live: secret objects found in the direct map", "live",
                "live: places of secret markers in the direct map", _count, lambda value: value["count"] == 0),
    Expectation("live: secret objects found in the kernel image's mapping", "live",
                "live: places of secret markers in the kernel image", _count, None),
    Expectation("at its physical address: ordinary objects found", "live", "frames",
                lambda value: f"{value['ordinary found']} of {value['ordinary']}",
                lambda value: value["ordinary found"] == value["ordinary"] > 0, control=True),
    Expectation("at its physical address: secret objects read as zeros", "live", "frames",
                lambda value: f"{value['secret zeros']} of {value['secret']}", _are_zeros),
    Expectation("at its physical address: secret objects seen in the kernel image's mapping", "live", "frames",
                lambda value: str(value["secret seen in the image"]), None),
    Expectation("killed: ordinary objects still found", "live", "killed: ordinary markers", _of,
                lambda value: value["found"] > 0, control=True),
    Expectation("killed: secret objects still found", "live", "killed: secret markers", _of, _none),
    Expectation("swap: ordinary objects' pages out", "live", "swap: pages",
                lambda value: f"{value['ordinary out']} of {value['ordinary']}", _swap_ordinary, control=True),
    Expectation("swap: secret objects' pages out", "live", "swap: pages",
                lambda value: f"{value['secret out']} of {value['secret']}", _swap_secret),
    Expectation("swap: bytes of the disk looked at, by the host", "live", "swap: markers on the disk",
                lambda value: _mib(value["bytes read"]), lambda value: value["bytes read"] > 0, control=True),
    Expectation("swap: ordinary objects found on the disk, by the host", "live", "swap: markers on the disk",
                *_on_disk(secret=False), control=True),
    Expectation("swap: secret objects found on the disk, by the host", "live", "swap: markers on the disk",
                *_on_disk(secret=True)),
    Expectation("swap: all objects in place afterwards", "live", "swap: holders have all in place", _yes, bool,
                control=True),
    Expectation("hibernation offered: no secret", "live", "hibernation, no secret: offered", _yes, bool, control=True),
    Expectation("hibernation offered: secrets live", "live", "hibernation, secrets live: offered", _yes, _is(False)),
    Expectation("hibernation: `secalloc check`, no secret", "live", "hibernation, no secret: secalloc check",
                lambda value: value.partition(" (")[0], lambda value: value.startswith("warning: available"),
                control=True),
    Expectation("hibernation: `secalloc check`, secrets live", "live", "hibernation, secrets live: secalloc check", str,
                _is("ok: not available")),
    Expectation("hibernation asked for: secrets live", "live", "hibernation asked for", str, _is("EPERM")),
    Expectation("hibernation offered: secret lives, dropped, trimmed", "live", "hibernation and Heap.trim()",
                lambda value: ", ".join(map(_yes, value.values())),
                _is({"secret": False, "dropped": False, "trimmed": True})),
    Expectation("hibernation offered: holders killed", "live", "hibernation, holders killed: offered", _yes, bool),
    Expectation("hibernated: ordinary object found on the disk", "live", "hibernation: markers on the disk",
                *_on_disk(secret=False), control=True),
    Expectation("hibernated: object dropped before found on the disk", "live", "hibernation: markers on the disk",
                *_on_disk(secret=True)),
    Expectation("locked heap: by a protection key, as told by its stats and the kernel", "live", "protection key",
                lambda value: _yes(all(value.values())), lambda value: all(value.values())),
    Expectation("locked heap: `secalloc check` of protection keys", "live", "protection key: secalloc check", str,
                _is("ok: yes")),
    *_keys(),
    *_limits(),
    *(row for boot in ("filled", "filled, pti=on") for kind in ("ordinary", "secret") for row in _filled(kind, boot)),
    *_off("off"),
    *_off("by default"),
]  # fmt: skip


def judged(one: dict[str, Any]) -> list[tuple[Expectation, str, bool]]:
    """Of one kernel of a report: each expectation, what the table shows for it, and whether it is met.

    Of a boot that this kernel has not (memfd_secret(2) off by default) there is nothing to expect.
    """
    found = []
    for each in EXPECTATIONS:
        boot = one["boots"].get(each.boot)
        if boot is None:
            is_needed = each.boot != "by default"
            found.append((each, "not measured" if is_needed else "", not is_needed))
            continue
        told = boot["measured"].get(each.name)
        if told is None:
            found.append((each, "not measured", False))
        elif "lacking" in told:
            found.append((each, f"not there: {told['lacking']}", True))
        else:
            value = told["value"]
            found.append((each, each.shown(value), each.met is None or each.met(value)))
    return found


def unmet(report: dict[str, Any]) -> list[str]:
    """In words; empty where all is as it must be."""
    return [
        f"Linux {one['release']}: {each.row}: {shown}"
        for one in report["kernels"].values() for each, shown, is_met in judged(one) if not is_met
    ]  # fmt: skip
