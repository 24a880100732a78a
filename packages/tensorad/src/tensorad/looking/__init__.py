"""Looking inside: what a context recorded, and how a backward pass went through it, to be read, drawn and walked."""
