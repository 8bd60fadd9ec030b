"""How values are written: numbers, dates and times, and what stands for a missing one."""
