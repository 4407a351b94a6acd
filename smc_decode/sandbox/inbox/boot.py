"""First code in every box: lower the limits, confine the process where no namespace does it, then play a role.

Arguments: role (`runner`, `checker` or `script`), limits (`number=value,...`), confinement (`-` or see `confine`),
and for `script` the channel's descriptor.
"""

import resource
import sys


def main() -> None:
    role, limits, confinement, *rest = sys.argv[1:]
    for item in limits.split(","):
        number, value = item.split("=")
        resource.setrlimit(int(number), (int(value), int(value)))
    if confinement != "-":
        from . import confine

        confine.confine(confinement)
    if role == "runner":
        from . import runner

        runner.serve()
    elif role == "script":
        from . import script

        script.serve(int(rest[0]))
    else:
        from . import checker

        checker.serve()
