"""Tables: columns of numbers, kinds, times and what is missing among them."""
