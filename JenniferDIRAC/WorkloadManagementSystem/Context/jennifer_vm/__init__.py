"""jennifer-vm: runs one DIRAC pilot in this virtual machine, says why it ended, and powers the machine off.

One file in the VM (``Context/GuestProgram.py`` packs it), standard library only, Python 3.6 to 3.13, started as root
by cloud-init. Whatever happens on the way, the machine is switched off: a VM that stays up by accident costs its owner
and serves nobody.

Modules are imported where they are needed: on a guest without hardware virtualisation ssl and urllib cost a second,
and the director waits for the first word.
"""
