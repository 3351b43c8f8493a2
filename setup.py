"""Which packages a wheel has: the experiments go into it as ``cnnlab.experiments``.

A package named ``experiments`` in site-packages would hide a researcher's own folder of that name.
Everything else is in pyproject.toml.
"""

from setuptools import find_packages, setup

experiments = find_packages(include=["experiments", "experiments.*"])
setup(
    packages=[
        *find_packages(include=["cnnlab", "cnnlab.*"]),
        *(f"cnnlab.{name}" for name in experiments),
    ],
    package_dir={"cnnlab.experiments": "experiments"},
)
