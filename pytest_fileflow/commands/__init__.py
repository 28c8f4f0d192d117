"""The commands of ``fileflow``, a module each: what it takes from the command line, and what it does."""
