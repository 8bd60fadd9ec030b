"""Both doors, called by clients that were not written here. `make clients-check` installs them and runs this."""
