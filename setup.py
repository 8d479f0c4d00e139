"""The compiled kernel; everything else about the package stands in setup.cfg."""

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "embedfreeze._kernel",
            ["embedfreeze/_kernel.c"],
            depends=[
                "embedfreeze/_checksum.h",
                "embedfreeze/_decimal.h",
                "embedfreeze/_guard.h",
                "embedfreeze/_subwords.h",
            ],
            define_macros=[("Py_LIMITED_API", "0x030b0000")],
            py_limited_api=True,
            # A Debian Python asks for -O2. A product that is fused into a sum is rounded once only.
            extra_compile_args=["-O3", "-ffp-contract=off"],
        )
    ]
)
