"""Types, protocols and services shared by all other packages."""
