"""``python -m openstack_lab.wsgi MODULE HOST:PORT``: an OpenStack WSGI module under gunicorn.

The services read ``sys.argv`` too, so that gunicorn's own command line cannot be used.
"""

import importlib
import sys

from gunicorn.app.base import BaseApplication

_SETTINGS = {
    "worker_class": "gthread",
    "workers": 1,
    "threads": 12,
    "timeout": 300,
    "keepalive": 75,
    "loglevel": "warning",
    # Nova asks neutron for the ports of all listed servers in one URL
    "limit_request_line": 0,
    "limit_request_field_size": 0,
    # or the headers that mod_auth_openidc sets are dropped for their underscores
    "header_map": "dangerous",
}


class Application(BaseApplication):
    def __init__(self, module: str, bind: str):
        self._module = module
        self._settings = {**_SETTINGS, "bind": bind, "proc_name": module}
        super().__init__()

    def load_config(self):
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self):
        return importlib.import_module(self._module).application


if __name__ == "__main__":
    module, bind = sys.argv[1:]
    sys.argv = [module]
    Application(module, bind).run()
