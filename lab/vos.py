"""The lab's virtual organisations; this file imports nothing, so that ``./run demo --help`` needs no environment."""

#: VO → stem of its DIRAC groups (``belle_user``, ``belle_pilot``)
VOS = {"belle": "belle", "t2k.org": "t2k", "hyperk.org": "hyperk"}
