"""JenniferDIRAC: virtual machines in place of pilot jobs, for DIRAC."""


def extension_metadata():
    """What DIRAC asks of an extension (entry point group ``dirac``, name ``metadata``)."""
    return {"primary_extension": True, "priority": 100, "setups": {}}
