/* Functions that the library has and does not export, one of whose names ends with the other's, and one that it does. */
__attribute__((noinline)) static int hidden_answer(int x) { return x * 2 + 1; }
__attribute__((noinline)) static int un_hidden_answer(int x) { return x - 1; }
int seen_answer(int x);
int seen_answer(int x) { return hidden_answer(x) + hidden_answer(x + 1) + un_hidden_answer(x); }
