"""Pure: builds argv for, and parses the output of, one program or format each."""
