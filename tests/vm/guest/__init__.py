"""What runs inside the virtual machine, as root: programs that hold, that look, and the steps that use both."""
