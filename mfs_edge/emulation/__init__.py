"""A Raspberry Pi's CPU and user space on this machine, without root, binfmt or containers.

It answers two questions exactly: does an artefact give the same picture on aarch64, and how
many instructions does a frame cost there. How long a frame takes it cannot tell, and nothing
here measures it.

    boards.py       the CPUs, and what their kernel says of them
    setup.py        builds the environment in a cache folder, once
    environment.py  what was built, and the command lines that use it
    apt.py          Debian packages, unpacked beside the system instead of installed into it
    wheels.py       runtimes for aarch64, unpacked beside each other
    calls.py        programs of this machine, and why they failed
    plugin.c        counts instructions
    inside.py       the program that runs inside
    count.py        starts it and reads the counts
"""
