"""The kernel's side of the proof: a machine of its own, whose whole memory, swap and power states are looked at.

Host: `kernels` gets Debian's kernels, `keys` makes TLS keys, `image` the initramfs, `machine` boots it, `disk` is the
swap area, `command` does one kernel after the other, `expectations` says what must be found, `report` makes the table.
Guest: `guest/`, started by the initramfs; see there.
"""
