/* A function that the library has and does not export, and one that it does. */
__attribute__((noinline)) static int hidden_answer(int x) { return x * 2 + 1; }
int seen_answer(int x);
int seen_answer(int x) { return hidden_answer(x) + hidden_answer(x + 1); }
