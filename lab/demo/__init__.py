"""The demo: three waiting jobs of three VOs become finished jobs on real virtual machines."""
