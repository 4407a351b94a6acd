"""Which packages a wheel installs: nothing at the top level but names that begin with ``smc_decode``.

In the checkout the server and the benchmarks are the folders ``server`` and ``benchmarks``; names as common as these
would meet those of others in ``site-packages``. Their modules import each other relatively, so that both names work.
pyproject.toml says everything else.
"""

from setuptools import find_packages, setup

FOLDERS = {"smc_decode": "smc_decode", "smc_decode_server": "server", "smc_decode_benchmarks": "benchmarks"}

setup(
    packages=[
        name + package.removeprefix(folder)
        for name, folder in FOLDERS.items()
        for package in find_packages(include=[folder, f"{folder}.*"])
    ],
    package_dir=FOLDERS,
)
