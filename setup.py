"""The compiled kernel; everything else about the package stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "embedfreeze._kernel",
            ["embedfreeze/_kernel.c"],
            depends=["embedfreeze/_decimal.h", "embedfreeze/_guard.h"],
            define_macros=[("Py_LIMITED_API", "0x030b0000")],
            py_limited_api=True,
            extra_compile_args=["-O3"],  # a Debian Python asks for -O2
        )
    ]
)
