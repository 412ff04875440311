"""Attacks on a process's memory, as an intruder with the same rights would try them, and its own careless code.

Run by `secalloc demo` and by the tests. Most run in another process than the one attacked; some are what the process
itself, or a child of it, may do with its memory (`Attack.inside`). The attacker is told more than a real one would
know: what to look for and at which addresses; and it looks through everything else as well. What it looks for comes
XOR-coded, so that a coded needle is never found for a plain one.

As a program (``python -m secalloc.attacks``) it reads an `Order` as JSON from standard input and writes a list of
`Outcome` to standard output. An argument is the user id to run as.

    targets, calls    what travels between the processes; system calls
    reading, writing, descriptors, dumps, physical (by kcore)     attacks from outside
    children, references, uring                        from inside

A new attack is a function that takes a `Target` and answers the names of the needles it reached, and a line in
`ATTACKS`. It raises `CannotRun` where it cannot be tried. Being forbidden is a reason to skip it as well; every other
error is a failure: an attack that broke has shown nothing.
"""
from __future__ import annotations

from secalloc.attacks.calls import FORBIDDEN, become, yama
from secalloc.attacks.children import exec_child, fork_child
from secalloc.attacks.descriptors import map_files, pidfd_getfd, proc_fd
from secalloc.attacks.dumps import debugger_dump, kernel_dump
from secalloc.attacks.physical import physical_memory
from secalloc.attacks.reading import proc_mem, ptrace_peek, vm_readv
from secalloc.attacks.references import direct_io, userfaultfd, vmsplice
from secalloc.attacks.targets import Attack, CannotRun, Needle, Order, Outcome, Target
from secalloc.attacks.uring import io_uring
from secalloc.attacks.writing import proc_mem_write, ptrace_poke, vm_writev

__all__ = ["ATTACKS", "Attack", "CannotRun", "Needle", "Order", "Outcome", "Target", "attack", "become"]

# The fatal one comes last.
_ALL = (
    Attack("/proc/PID/mem", "read(2) of every readable mapping", proc_mem),
    Attack("process_vm_readv", "process_vm_readv(2) of every readable mapping", vm_readv),
    Attack("ptrace peek", "PTRACE_PEEKDATA at the very addresses", ptrace_peek),
    Attack("/proc/PID/mem write", "write(2) at the very addresses", proc_mem_write),
    Attack("process_vm_writev", "process_vm_writev(2) at the very addresses", vm_writev),
    Attack("ptrace poke", "PTRACE_POKEDATA at the very addresses", ptrace_poke),
    Attack("pidfd_getfd", "every descriptor taken over, then mapped", pidfd_getfd),
    Attack("/proc/PID/fd", "every open file opened once more and read", proc_fd),
    Attack("/proc/PID/map_files", "every mapped file opened and read", map_files),
    Attack("pagemap, kcore", "the kernel's own view of the page, by its physical address", physical_memory),
    Attack("fork", "a forked child reads at the very addresses", fork_child, inside=True),
    Attack("exec", "another program maps the descriptors that it inherits", exec_child, inside=True),
    Attack("vmsplice", "the pages themselves put into a pipe", vmsplice, inside=True),
    Attack("O_DIRECT", "the pages written to a file by the device", direct_io, inside=True),
    Attack("io_uring", "the memory registered as a buffer, and written from there", io_uring, inside=True),
    Attack("userfaultfd", "the range's faults taken over", userfaultfd, inside=True),
    Attack("gcore", "a core dump by gdb", debugger_dump),
    Attack("kernel core dump", "the dump that the kernel writes at SIGABRT", kernel_dump, fatal=True),
)
ATTACKS: dict[str, Attack] = {attack.name: attack for attack in _ALL}


def attack(name: str, target: Target) -> Outcome:
    """Try one attack. A refusal by the kernel is a reason to skip, never a pass; any other error is a failure."""
    try:
        return Outcome(name, sorted(ATTACKS[name].run(target)))
    except CannotRun as error:
        return Outcome(name, skipped=str(error))
    except OSError as error:
        if error.errno in FORBIDDEN:
            return Outcome(name, skipped=str(error) + yama())
        return Outcome(name, failed=str(error))
    except Exception as error:  # the other attacks go on
        return Outcome(name, failed=f"{type(error).__name__}: {error}")
