"""``python -m lab.dirac.tornado_services``: DIRAC's HTTPS services, on tornado as PyPI has it.

DIRAC wants a fork of tornado 5.1.1 that is in no package registry. What it needs of it is little: streams over
M2Crypto, which takes proxies as certificates of clients, and those certificates at hand. The package tornado-m2crypto
has both; this puts them in their places before DIRAC's own start script runs. For the lab only: an installation has
DIRACOS, with the fork in it.
"""

from __future__ import annotations

import collections
import collections.abc
import os


def main() -> None:
    os.environ["DIRAC_USE_TORNADO_IOLOOP"] = "Yes"  # DIRAC looks at it when it is imported
    put_in_place()
    from DIRAC.Core.Tornado.scripts.tornado_start_all import main as start

    start()


def put_in_place() -> None:
    collections.MutableMapping = collections.abc.MutableMapping  # tornado 5.1.1 is older than Python 3.10
    import tornado.httputil
    import tornado.iostream
    import tornado.tcpserver
    from tornado_m2crypto.m2httputil import M2HTTPServerRequest
    from tornado_m2crypto.m2iostream import M2IOStream
    from tornado_m2crypto.m2netutil import m2_wrap_socket

    M2IOStream.__init__ = M2IOStream.initialize  # the fork's base class calls that in place of a constructor
    tornado.tcpserver.SSLIOStream = M2IOStream
    tornado.tcpserver.ssl_wrap_socket = m2_wrap_socket
    tornado.iostream.SSLIOStream.configure = staticmethod(lambda stream: None)  # DIRAC asks for what is done here
    for name in ("get_ssl_certificate", "get_ssl_certificate_chain"):
        setattr(tornado.httputil.HTTPServerRequest, name, getattr(M2HTTPServerRequest, name))


if __name__ == "__main__":
    main()
