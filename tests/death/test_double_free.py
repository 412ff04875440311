"""What was freed is freed, resized or measured again."""
from support.scenarios import FREED, NOT_OURS, Scenario, controls_end_no_process, each_of, for_both_sizes

MANY = "many = [malloc(SIZE) for _ in range(20)]; p = many[10]; "
THREAD = "t = threading.Thread(target={}, args=[{}]); t.start(); t.join()"

SCENARIOS = [
    *for_both_sizes("free twice at once", "p = malloc(SIZE); free(p)", "free(p)", FREED),
    *for_both_sizes("free twice after other frees", MANY + "[free(each) for each in many]", "free(p)", FREED),
    *for_both_sizes("free twice while others live", MANY + "free(p)", "free(p)", FREED),
    *for_both_sizes("free twice after the pages went back", "p = malloc(SIZE); free(p); heap.trim()", "free(p)",
                    NOT_OURS),
    Scenario("free twice after a hundred more have passed the quarantine",
             "p, *others = [malloc(65_536) for _ in range(101)]; free(p); [free(each) for each in others]", "free(p)",
             FREED),
    Scenario("free twice of an object of size 0", "p = malloc(0); free(p)", "free(p)", FREED),
    *for_both_sizes("free twice of what calloc made", "p = calloc(1, SIZE); free(p)", "free(p)", FREED),
    *for_both_sizes("free twice of what was aligned to a cache line", "p = aligned_alloc(64, SIZE); free(p)",
                    "free(p)", FREED),
    *for_both_sizes("free twice of what was aligned to 64 KiB", "p = aligned_alloc(65_536, SIZE); free(p)", "free(p)",
                    FREED),
    *for_both_sizes("free after realloc moved it", "p = malloc(SIZE); q = realloc(p, 500_000)", "free(p)", FREED,
                    "free(q)"),
    *for_both_sizes("free after realloc to size 0", "p = malloc(SIZE); q = realloc(p, 0)", "free(p)", FREED,
                    "free(q)"),
    *for_both_sizes("realloc of a freed object", "p = malloc(SIZE); free(p)", "realloc(p, 50)", FREED),
    *for_both_sizes("realloc to size 0 of a freed object", "p = malloc(SIZE); free(p)", "realloc(p, 0)", FREED),
    *for_both_sizes("usable_size of a freed object", "p = malloc(SIZE); free(p)", "usable_size(p)", FREED),
    *for_both_sizes("free of what another thread freed", "p = malloc(SIZE); " + THREAD.format("free", "p"), "free(p)",
                    FREED),
    *for_both_sizes("free in another thread of a freed object", "p = malloc(SIZE); free(p)",
                    THREAD.format("free", "p"), FREED),
    *for_both_sizes("free twice of what an ended thread had made",
                    "many = []; " + THREAD.format("lambda _: many.append(malloc(SIZE))", "0") + "; free(many[0])",
                    "free(many[0])", FREED),
    *(Scenario(f"{call} of a slot that was never handed out", "p = malloc(32); page = maps.mapping_at(p)",
               f"{call}(p + 48 if p + 96 < page.end else p - 48)", FREED, f"{call}(p)")
      for call in ("free", "usable_size")),
]  # fmt: skip


@each_of(SCENARIOS)
def test_it_ends_the_process(scenario):
    scenario.ends()


def test_one_free_ends_no_process():
    controls_end_no_process(SCENARIOS)
