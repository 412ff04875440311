/* An allocator that takes no advice: mallopt(3) that says yes and does nothing. */
int mallopt(int name, int value);
int mallopt(int name, int value)
{
    (void)name;
    (void)value;
    return 1;
}
