"""What a memory is, what may be asked, and the mathematics of the answer: frozen values, no input or output."""
