"""Several threads at once: each with objects of its own, and one making what another frees."""
import threading

import pytest

from secalloc.peers import find_peers
from secalloc_ext.loops import Stand

SIZE, LIVE = 32, 1_000
PEERS = [peer for peer in find_peers() if peer.name not in ("libsodium", "one memfd_secret each")]  # lock the kernel

every_peer = pytest.mark.parametrize("peer", PEERS, ids=[each.name for each in PEERS])


@every_peer
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_with_objects_of_their_own(there, measure, at_most, peer, threads):
    found = there(peer)
    stands = [Stand(found.peer, SIZE, LIVE, seed) for seed in range(threads)]
    rounds = at_most(100_000) // LIVE

    def all_at_once():
        workers = [threading.Thread(target=stand.batch, args=[rounds]) for stand in stands]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    measure("objects of one's own, 32 bytes, by threads", all_at_once, threads * rounds * LIVE)


@every_peer
def test_one_thread_makes_and_another_frees(there, measure, at_most, peer):
    found = there(peer)
    count = at_most(50_000)
    measure("made in one thread, freed in another, 32 bytes", found.peer.hand_over, count, SIZE, count)
